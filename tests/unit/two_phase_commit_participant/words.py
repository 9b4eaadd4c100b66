"""Attempts and transactions for tests, with everything that a test does not care about filled in."""

from utils.domain.order import PaymentInstrument, PaymentMethod, PricedItem
from utils.two_phase_commit.messages import Attempt, Compensation, Decision, Transaction

CARD = PaymentInstrument(PaymentMethod.CARD, "visa", "1111")


def order_id(order: int) -> str:
    return f"{order:032x}"


def attempt(number: int = 1, *, epoch: int = 1, order: int = 1) -> Attempt:
    return Attempt(order_id(order), epoch, number)


def transaction(
    of: Attempt, *items: tuple[str, int], amount_cents: int = 2_500, instrument: PaymentInstrument = CARD
) -> Transaction:
    """Of one copy of Book A, unless the items say otherwise."""
    priced = tuple(PricedItem(title, quantity, 1_250) for title, quantity in items or (("Book A", 1),))
    return Transaction(of, 10 + int(of.order_id, 16), priced, amount_cents, instrument)


def commit(of: Attempt, position: int = 0) -> Decision:
    return Decision(of, commit=True, position=position)


def abort(of: Attempt, position: int = 0) -> Decision:
    return Decision(of, commit=False, position=position)


def compensation(*items: tuple[str, int], order: int = 1, amount_cents: int = 2_500) -> Compensation:
    """Of an order as `transaction` makes it."""
    of = transaction(attempt(order=order), *items, amount_cents=amount_cents)
    return Compensation(of.attempt.order_id, of.position, of.items, of.amount_cents)
