"""Events D (user) and E (card or account): a risk score from 0 to 100, and why. Pure.

Two kinds of signals. A *decisive* one rejects by itself: a domain that no customer has, a bulk order. The others only
say that something is odd; their weights add up, and together never come above SOFT_SCORE_MAX, so that with the default
threshold no heap of oddities rejects an honest order. An operator who wants that lowers FRAUD_REJECT_SCORE.

| signal | weight | event |
|---|---|---|
| contact at a disposable or suspicious domain | decisive | D |
| `copies_max` copies of one title or more | decisive | D |
| amount from 1,000.00; from 5,000.00 | 15; 30 | D |
| 50 books or more in all | 10 | D |
| digits in the name | 10 | D |
| the customer ordered more than 10 times in the window; more than 100 | 10; 20 | D |
| the browser's region is not the billing country | 5 | D |
| the card or account was used more than 10 times in the window; more than 100 | 10; 20 | E |
| the account's country is not the billing country | 10 | E |
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fraud_detection.domains import domain_of, is_disposable, is_suspicious
from utils.domain.money import format_cents
from utils.domain.order import Address, Customer, OrderItem, Reason

DECISIVE: Final = 100
SOFT_SCORE_MAX: Final = 75

_AMOUNT_WEIGHTS: Final = ((500_000, 30), (100_000, 15))
_BOOKS_MANY: Final = 50
_VELOCITY_WEIGHTS: Final = ((100, 20), (10, 10))


@dataclass(frozen=True)
class Signal:
    """One thing that raises the score, told without the word that accuses."""

    reason: Reason
    weight: int


@dataclass(frozen=True)
class Suspect:
    """What the score is made from. Counts are of the same customer and payment's means within the window."""

    customer: Customer
    billing_address: Address
    items: Sequence[OrderItem]
    amount_cents: int
    device_language: str
    # Of the bank account, ISO 3166 alpha-2; empty for a card.
    account_country: str
    customer_orders: int
    instrument_orders: int


@dataclass(frozen=True)
class Assessment:
    """Both events' signals, and what a threshold makes of them."""

    user_signals: tuple[Signal, ...]
    payment_signals: tuple[Signal, ...]
    reject_score: int

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.user_signals + self.payment_signals

    @property
    def score(self) -> int:
        """0 (nothing odd) to 100."""
        return _score(self.signals)

    @property
    def user_reasons(self) -> tuple[Reason, ...]:
        """Why event D fails; empty when it happens."""
        return _reasons(self.user_signals, self.reject_score)

    @property
    def payment_reasons(self) -> tuple[Reason, ...]:
        """Why event E fails, knowing what D found; empty when it happens."""
        if not self.payment_signals or self.user_reasons:
            return ()
        return _reasons(self.signals, self.reject_score)


def assess(suspect: Suspect, *, reject_score: int, copies_max: int) -> Assessment:
    """Rejects from `reject_score` (1 to 100) on, and from `copies_max` copies of one title on."""
    return Assessment(
        tuple(_user_signals(suspect, copies_max)),
        tuple(_payment_signals(suspect)),
        reject_score,
    )


def _user_signals(suspect: Suspect, copies_max: int) -> Iterator[Signal]:
    domain = domain_of(suspect.customer.contact)
    if is_disposable(domain):
        yield _signal("disposable_contact", f"{domain} gives out throw-away addresses", DECISIVE, "/user/contact")
    elif is_suspicious(domain):
        yield _signal("suspicious_contact", f"we take no orders from {domain}", DECISIVE, "/user/contact")
    copies: dict[str, int] = {}
    for item in suspect.items:
        copies[item.title] = copies.get(item.title, 0) + item.quantity
    if any(quantity >= copies_max for quantity in copies.values()):
        yield _signal("bulk_order", f"{copies_max} or more copies of one book need a call first", DECISIVE, "/items")
    if weight := _step(suspect.amount_cents, _AMOUNT_WEIGHTS):
        yield _signal("high_amount", f"the amount of {format_cents(suspect.amount_cents)} is high", weight)
    if sum(copies.values()) >= _BOOKS_MANY:
        yield _signal("many_books", f"{sum(copies.values())} books are many", 10, "/items")
    if any(character.isdigit() for character in suspect.customer.name):
        yield _signal("odd_name", "the name has digits in it", 10, "/user/name")
    if weight := _step(suspect.customer_orders - 1, _VELOCITY_WEIGHTS):
        yield _signal("customer_velocity", "this customer orders very often", weight, "/user/contact")
    if _differ(_region(suspect.device_language), suspect.billing_address.country):
        yield _signal("region_mismatch", "the browser is set to another country than the billing address", 5)


def _payment_signals(suspect: Suspect) -> Iterator[Signal]:
    if weight := _step(suspect.instrument_orders - 1, _VELOCITY_WEIGHTS):
        yield _signal("payment_velocity", "this card or account is used very often", weight)
    if _differ(suspect.account_country, suspect.billing_address.country):
        yield _signal(
            "account_country_mismatch",
            "the bank account is in another country than the billing address",
            10,
            "/bankAccount/iban",
        )


def _signal(code: str, message: str, weight: int, field: str = "") -> Signal:
    return Signal(Reason(code, message, field), weight)


def _step(value: int, weights: Sequence[tuple[int, int]]) -> int:
    return next((weight for least, weight in weights if value >= least), 0)


def _score(signals: Sequence[Signal]) -> int:
    if any(signal.weight == DECISIVE for signal in signals):
        return DECISIVE
    return min(SOFT_SCORE_MAX, sum(signal.weight for signal in signals))


def _reasons(signals: Sequence[Signal], reject_score: int) -> tuple[Reason, ...]:
    """What a customer is told: the decisive signals, or else all that came together."""
    if _score(signals) < reject_score:
        return ()
    decisive = [signal for signal in signals if signal.weight == DECISIVE]
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
