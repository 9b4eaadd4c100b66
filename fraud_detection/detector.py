"""One order against what was seen before it: counts by keyed fingerprints, then the rules. Pure: time is brought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fraud_detection.config import Config
from fraud_detection.fingerprint import Fingerprints
from fraud_detection.links import LinkWindow
from fraud_detection.rules import LINKS_MAX, Assessment, Suspect, Thresholds, assess
from fraud_detection.velocity import VelocityWindow
from utils.domain.order import Address, Customer, OrderItem


@dataclass(frozen=True)
class Instrument:
    """A card or an account. Its number does not show in its repr, is hashed here and kept nowhere."""

    kind: Literal["card", "iban"]
    number: str = field(repr=False)


@dataclass(frozen=True)
class OrderFacts:
    """What fraud detection is told of an order."""

    customer: Customer
    billing_address: Address
    items: Sequence[OrderItem]
    amount_cents: int
    instrument: Instrument
    device_language: str = ""


class Detector:
    """Remembers fingerprints of customers, cards and addresses, for as long as its windows are and as it lives.

    A replica counts what it sees itself: with more of them, an order pinned to one, each sees a part.
    """

    def __init__(self, config: Config, fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        self._thresholds = Thresholds(
            config.fraud_reject_score, config.fraud_review_score, config.fraud_copies_max
        )  # fmt: skip
        self._card_countries = dict(pair.split("=") for pair in config.fraud_card_countries)
        self._customers = VelocityWindow(config.fraud_window_s, config.fraud_window_keys_max)
        self._instruments = VelocityWindow(config.fraud_window_s, config.fraud_window_keys_max)
        self._customer_links = LinkWindow(config.fraud_link_window_s, config.fraud_link_keys_max, LINKS_MAX)
        self._address_links = LinkWindow(config.fraud_link_window_s, config.fraud_link_keys_max, LINKS_MAX)

    def judge(self, facts: OrderFacts, now_s: float) -> Assessment:
        """Counts the order at `now_s`, a time that never runs backwards, and assesses it by the rules."""
        number = facts.instrument.number.replace("-", "")
        customer = self._fingerprints.of("customer", facts.customer.contact)
        instrument = self._fingerprints.of(facts.instrument.kind, number)
        address = facts.billing_address
        # The name of a house's occupant makes no difference, nor does the way to write a comma.
        place = "".join(character for character in f"{address.street} {address.zip}" if character.isalnum())
        pace = self._customers.observe(customer, now_s)
        customer_links = self._customer_links.observe(customer, instrument, now_s)
        address_links = self._address_links.observe(self._fingerprints.of("address", place), instrument, now_s)
        return assess(
            Suspect(
                customer=facts.customer,
                billing_address=address,
                items=facts.items,
                amount_cents=facts.amount_cents,
                device_language=facts.device_language,
                instrument_country=_country(facts.instrument.kind, number, self._card_countries),
                customer_orders=pace.orders,
                interval_s=pace.interval_s,
                instrument_orders=self._instruments.observe(instrument, now_s).orders,
                customer_new_instruments=customer_links.count if customer_links.new else 0,
                address_new_instruments=address_links.count if address_links.new else 0,
            ),
            self._thresholds,
        )


def _country(kind: str, number: str, card_countries: Mapping[str, str]) -> str:
    """ISO 3166 alpha-2; empty where nobody has said. An account says it itself, a card by the longest prefix known."""
    digits = "".join(number.split())
    if kind == "iban":
        return digits[:2].upper()
    return next(
        (card_countries[digits[:length]] for length in range(8, 0, -1) if digits[:length] in card_countries), ""
    )
