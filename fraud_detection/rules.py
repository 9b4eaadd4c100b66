"""Events D (user) and E (card or account): a risk score from 0 to 100, and why. Pure.

A *decisive* signal rejects by itself. All others only say that something is odd. They are of six kinds, and what one
kind adds to the score is capped below the threshold: one oddity, however often it shows, rejects nobody; evidence of
different kinds together does. A card or account that was seen with the same contact before adds nothing to LINKS: who
tests stolen cards brings a new one each time, who only orders often does not.

| kind (cap) | signal | weight | event |
|---|---|---|---|
| decisive | contact at a disposable or suspicious domain | 100 | D |
| | `copies_max` copies of one title or more | 100 | D |
| CONTACT (50) | the email address looks random | 40 | D |
| | it has nothing of the name | 10 | D |
| | digits in the name, or a name that nobody can say | 10 | D |
| BASKET (40) | amount from 400.00; from 3,000.00 | 30; 35 | D |
| | more than 20 copies of one title | 10 | D |
| | 50 books or more in all | 5 | D |
| PLACE (45) | the browser's region is not the billing country | 10 | D |
| | the card's or account's country, where known, is not the billing country | 35 | E |
| PACE (10) | the customer ordered more than 10 times in the window; more than 100 | 5; 10 | D |
| | the customer's last order is less than 2 s ago | 5 | D |
| | the card or account was used more than 10 times in the window; more than 100 | 5; 10 | E |
| LINKS (80) | a contact's 5th, 9th new card or account within a day | 40; 65 | E |
| | its 2nd, 3rd, where the email address looks random | 15; 30 | E |
| | an address's 4th, 7th, 13th new card or account within a day | 10; 20; 30 | E |
| MODEL | what a generative model adds, at most FRAUD_AI_WEIGHT_MAX | 0 to 30 | E |
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fraud_detection.contacts import looks_random, odd_name, unlike_name
from fraud_detection.domains import domain_of, is_disposable, is_suspicious
from utils.domain.money import format_cents
from utils.domain.order import Address, Customer, OrderItem, Reason

DECISIVE: Final = 100

_AMOUNT_WEIGHTS: Final = ((300_000, 35), (40_000, 30))
_COPIES_USUAL: Final = 20
_BOOKS_MANY: Final = 50
_PACE_WEIGHTS: Final = ((100, 10), (10, 5))
_INTERVAL_S_MIN: Final = 2.0
_CUSTOMER_LINK_WEIGHTS: Final = ((9, 65), (5, 40))
# Two or three cards are what people have whose bank declines one; with an address that nobody would remember, they are
# not.
_RANDOM_CONTACT_LINK_WEIGHTS: Final = (*_CUSTOMER_LINK_WEIGHTS, (3, 30), (2, 15))
_ADDRESS_LINK_WEIGHTS: Final = ((13, 30), (7, 20), (4, 10))
# Counting links may stop here.
LINKS_MAX: Final = 16


class Kind(enum.Enum):
    """What a signal is evidence of; the value is its number in the documentation's order."""

    DECISIVE = 0
    CONTACT = 1
    BASKET = 2
    PLACE = 3
    PACE = 4
    LINKS = 5
    MODEL = 6


# No kind alone reaches the default threshold but LINKS, where one contact has brought nine cards, and its address more.
# MODEL is capped again where the model is asked.
CAPS: Final = {
    Kind.DECISIVE: DECISIVE,
    Kind.CONTACT: 50,
    Kind.BASKET: 40,
    Kind.PLACE: 45,
    Kind.PACE: 10,
    Kind.LINKS: 80,
    Kind.MODEL: 50,
}


@dataclass(frozen=True)
class Signal:
    """One thing that raises the score, told without the word that accuses."""

    kind: Kind
    reason: Reason
    weight: int


@dataclass(frozen=True)
class Suspect:
    """What the score is made from. `Detector` counts what must be counted."""

    customer: Customer
    billing_address: Address
    items: Sequence[OrderItem]
    amount_cents: int
    device_language: str
    # Of the card or account, ISO 3166 alpha-2; empty where it is not known.
    instrument_country: str
    # Within the velocity window, this order included.
    customer_orders: int
    instrument_orders: int
    # Since the same customer's last order; None for the first.
    interval_s: float | None
    # How many cards and accounts the contact and the address have had within the link window, where this one is new to
    # them; else 0.
    customer_new_instruments: int
    address_new_instruments: int


@dataclass(frozen=True)
class Thresholds:
    """Scores from 1 to 100, and copies of one title."""

    reject_score: int
    review_score: int
    copies_max: int


@dataclass(frozen=True)
class Assessment:
    """Both events' signals, and what the thresholds make of them."""

    user_signals: tuple[Signal, ...]
    payment_signals: tuple[Signal, ...]
    thresholds: Thresholds
    score: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", _score(self.signals))

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.user_signals + self.payment_signals

    @property
    def review(self) -> bool:
        """Passes, but somebody should look at it."""
        return self.thresholds.review_score <= self.score < self.thresholds.reject_score

    @property
    def user_reasons(self) -> tuple[Reason, ...]:
        """Why event D fails; empty when it happens."""
        return _reasons(self.user_signals, self.thresholds.reject_score)

    @property
    def payment_reasons(self) -> tuple[Reason, ...]:
        """Why event E fails, knowing what D found; empty when it happens."""
        if not self.payment_signals or self.user_reasons:
            return ()
        return _reasons(self.signals, self.thresholds.reject_score)

    def with_payment_signal(self, signal: Signal) -> "Assessment":
        """Never of less risk than this one: a signal can only add."""
        assert signal.weight >= 0
        return replace(self, payment_signals=(*self.payment_signals, signal))


def assess(suspect: Suspect, thresholds: Thresholds) -> Assessment:
    """By the rules alone."""
    return Assessment(
        (*_contact_signals(suspect), *_basket_signals(suspect, thresholds.copies_max), *_user_pace_signals(suspect)),
        tuple(_payment_signals(suspect)),
        thresholds,
    )


def _contact_signals(suspect: Suspect) -> Iterator[Signal]:
    contact, name = suspect.customer.contact, suspect.customer.name
    domain = domain_of(contact)
    if is_disposable(domain):
        message = f"{domain} gives out throw-away addresses"
        yield _signal(Kind.DECISIVE, "disposable_contact", message, DECISIVE, "/user/contact")
    elif is_suspicious(domain):
        message = f"we take no orders from {domain}"
        yield _signal(Kind.DECISIVE, "suspicious_contact", message, DECISIVE, "/user/contact")
    if looks_random(contact, name):
        yield _signal(Kind.CONTACT, "random_contact", "the email address looks random", 40, "/user/contact")
    if unlike_name(contact, name):
        yield _signal(Kind.CONTACT, "unlike_name", "the email address has nothing of the name", 10, "/user/contact")
    if odd_name(name):
        yield _signal(Kind.CONTACT, "odd_name", "the name is unusual", 10, "/user/name")


def _basket_signals(suspect: Suspect, copies_max: int) -> Iterator[Signal]:
    copies: dict[str, int] = {}
    for item in suspect.items:
        copies[item.title] = copies.get(item.title, 0) + item.quantity
    most, books = max(copies.values(), default=0), sum(copies.values())
    if most >= copies_max:
        message = f"{copies_max} or more copies of one book need a call first"
        yield _signal(Kind.DECISIVE, "bulk_order", message, DECISIVE, "/items")
    elif most > _COPIES_USUAL:
        yield _signal(Kind.BASKET, "many_copies", f"{most} copies of one book are many", 10, "/items")
    if weight := _step(suspect.amount_cents, _AMOUNT_WEIGHTS):
        message = f"the amount of {format_cents(suspect.amount_cents)} is high"
        yield _signal(Kind.BASKET, "high_amount", message, weight)
    if books >= _BOOKS_MANY:
        yield _signal(Kind.BASKET, "many_books", f"{books} books are many", 5, "/items")


def _user_pace_signals(suspect: Suspect) -> Iterator[Signal]:
    if _differ(_region(suspect.device_language), suspect.billing_address.country):
        message = "the browser is set to another country than the billing address"
        yield _signal(Kind.PLACE, "region_mismatch", message, 10)
    if weight := _step(suspect.customer_orders - 1, _PACE_WEIGHTS):
        yield _signal(Kind.PACE, "customer_velocity", "this customer orders very often", weight, "/user/contact")
    if suspect.interval_s is not None and suspect.interval_s < _INTERVAL_S_MIN:
        yield _signal(Kind.PACE, "quick_repeat", "the last order was only just placed", 5, "/user/contact")


def _payment_signals(suspect: Suspect) -> Iterator[Signal]:
    if weight := _step(suspect.instrument_orders - 1, _PACE_WEIGHTS):
        yield _signal(Kind.PACE, "payment_velocity", "this card or account is used very often", weight)
    if _differ(suspect.instrument_country, suspect.billing_address.country):
        message = "the card or account is of another country than the billing address"
        yield _signal(Kind.PLACE, "payment_country_mismatch", message, 35)
    random = looks_random(suspect.customer.contact, suspect.customer.name)
    link_weights = _RANDOM_CONTACT_LINK_WEIGHTS if random else _CUSTOMER_LINK_WEIGHTS
    if weight := _step(suspect.customer_new_instruments, link_weights):
        message = "this contact paid with many different cards or accounts"
        yield _signal(Kind.LINKS, "many_cards", message, weight, "/user/contact")
    if weight := _step(suspect.address_new_instruments, _ADDRESS_LINK_WEIGHTS):
        message = "many different cards or accounts paid for this address"
        yield _signal(Kind.LINKS, "many_cards_at_address", message, weight, "/billingAddress")


def _signal(kind: Kind, code: str, message: str, weight: int, field: str = "") -> Signal:
    return Signal(kind, Reason(code, message, field), weight)


def _step(value: int, weights: Sequence[tuple[int, int]]) -> int:
    return next((weight for least, weight in weights if value >= least), 0)


def _score(signals: Sequence[Signal]) -> int:
    by_kind: dict[Kind, int] = {}
    for signal in signals:
        by_kind[signal.kind] = by_kind.get(signal.kind, 0) + signal.weight
    return min(100, sum(min(CAPS[kind], weight) for kind, weight in by_kind.items()))


def _reasons(signals: Sequence[Signal], reject_score: int) -> tuple[Reason, ...]:
    """What a customer is told: the decisive signals, or else all that came together."""
    if _score(signals) < reject_score:
        return ()
    decisive = [signal for signal in signals if signal.kind is Kind.DECISIVE]
    return tuple(
        Reason(f"fraud_{signal.reason.code}", f"We suspect fraud: {signal.reason.message}.", signal.reason.field)
        for signal in decisive or signals
    )


def _region(language: str) -> str:
    """ "EE" for "et-EE"; empty where the tag (RFC 5646) names no country."""
    return next((part.upper() for part in language.split("-")[1:] if len(part) == 2 and part.isalpha()), "")


def _differ(code: str, country: str) -> bool:
    """Only two codes are compared: a country's name says nothing here."""
    written = country.strip().upper()
    return bool(code) and len(written) == 2 and code != written
