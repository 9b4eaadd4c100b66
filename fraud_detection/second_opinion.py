"""What a generative model thinks of an order: it may add to the risk of the rules, and never takes anything away.

It is told what kind of order it is, and nothing of who ordered: no name, contact, address or card. Its answer is a
number and a word of a list; the customer is told our words, never the model's.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from fraud_detection.contacts import looks_random, odd_name, unlike_name
from fraud_detection.detector import OrderFacts
from fraud_detection.domains import domain_of
from fraud_detection.rules import Assessment, Kind, Signal
from utils.domain.order import Reason
from utils.generative_ai.question import Question

# The most items that it is told of; the rest are counted.
_ITEMS_MAX: Final = 20

_CONCERNS: Final = {
    "none": "this order is unlike others",
    "resale": "the books look as if they were bought to be sold again",
    "stolen_payment": "the payment does not fit the order",
    "false_identity": "the contact does not look like a person's",
    "automation": "the order looks as if a program had placed it",
}


class Opinion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """0: like any other order. 100: certainly fraud."""

    risk: Annotated[int, msgspec.Meta(ge=0, le=100)]
    concern: Literal["none", "resale", "stolen_payment", "false_identity", "automation"]


RISK: Final = Question(
    name="fraud",
    instructions=(
        "You help an online bookshop to find fraudulent orders. You are given the features of one order and the signals"
        " that fixed rules have found. Say how likely the order is fraudulent, from 0 to 100, and your main concern."
        " Most orders are honest: answer 0 and none unless several features fit a known pattern of fraud."
    ),
    answer=Opinion,
)


def features(facts: OrderFacts, assessment: Assessment) -> dict[str, Any]:
    """What the model is told. Of a customer's own words only the titles: books of the shop, once A happened."""
    customer = facts.customer
    country = facts.billing_address.country.strip().upper()
    region = facts.device_language.rpartition("-")[2].upper()
    return {
        "amount_cents": facts.amount_cents,
        "items": [{"title": item.title, "quantity": item.quantity} for item in facts.items[:_ITEMS_MAX]],
        "titles": len(facts.items),
        "books": sum(item.quantity for item in facts.items),
        "payment": facts.instrument.kind,
        "contact": "email" if domain_of(customer.contact) else "phone",
        "contact_looks_random": looks_random(customer.contact, customer.name),
        "contact_is_unlike_the_name": unlike_name(customer.contact, customer.name),
        "name_is_odd": odd_name(customer.name),
        # A country's code is no personal datum; whatever else stands in the field may be anything.
        "country": country if len(country) == 2 and country.isascii() and country.isalpha() else "unknown",
        "browser_region": region if len(region) == 2 and region.isascii() and region.isalpha() else "unknown",
        "rules_score": assessment.score,
        "rules_signals": [signal.reason.code for signal in assessment.signals],
    }


def signal_of(opinion: Opinion, weight_max: int) -> Signal | None:
    """`weight_max` at risk 100, in proportion below; None for nothing."""
    weight = round(opinion.risk * weight_max / 100)
    if weight <= 0:
        return None
    return Signal(Kind.MODEL, Reason("second_opinion", _CONCERNS[opinion.concern]), weight)
