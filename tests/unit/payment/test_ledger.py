"""Luck, authorisation, capture."""

import pytest

from payment.ledger import Ledger, LedgerEntry, Luck, PaymentState
from tests.unit.two_phase_commit_participant.words import CARD, abort, attempt, commit, order_id, transaction
from utils.domain.order import PaymentInstrument, PaymentMethod, Reason
from utils.two_phase_commit.messages import VoteKind

ALWAYS = Luck("seed", 1.0, 1.0)
NEVER = Luck("seed", 0.0, 0.0)
BANK = PaymentInstrument(PaymentMethod.BANK_TRANSFER, "", "0001")


def state(ledger: Ledger, order: int = 1) -> PaymentState | None:
    payment = ledger._payments.get(order_id(order))
    return payment.state if payment else None


@pytest.mark.parametrize(("method", "rate"), [(PaymentMethod.CARD, 0.95), (PaymentMethod.BANK_TRANSFER, 0.90)])
def test_luck_authorises_its_share_of_the_orders(method: PaymentMethod, rate: float) -> None:
    luck = Luck("bookstore", 0.95, 0.90)
    authorised = sum(luck.authorises(order_id(order), method) for order in range(4_000))
    assert authorised / 4_000 == pytest.approx(rate, abs=0.015)


def test_luck_depends_on_seed_and_order_only() -> None:
    orders = [order_id(order) for order in range(200)]

    def draw(seed: str) -> list[bool]:
        return [Luck(seed, 0.5, 0.5).authorises(order, PaymentMethod.CARD) for order in orders]

    assert draw("a") == draw("a")
    assert draw("a") != draw("b")
    assert all(Luck("a", 1.0, 0.0).authorises(order, PaymentMethod.CARD) for order in orders)
    assert not any(Luck("a", 1.0, 0.0).authorises(order, PaymentMethod.BANK_TRANSFER) for order in orders)


def test_a_new_attempt_has_the_same_luck() -> None:
    luck = Luck("bookstore", 0.5, 0.5)
    ledger = Ledger(luck)
    for order in range(50):
        kinds = {
            ledger.prepare(transaction(attempt(number, epoch=epoch, order=order))).kind
            for epoch in (1, 2)
            for number in (1, 2)
        }
        assert len(kinds) == 1


def test_prepare_authorises_and_captures_nothing() -> None:
    ledger = Ledger(ALWAYS)
    assert ledger.prepare(transaction(attempt())).kind is VoteKind.COMMIT
    assert state(ledger) is PaymentState.AUTHORISED
    assert ledger.in_doubt == (attempt(),)


def test_a_declined_payment_says_why() -> None:
    ledger = Ledger(NEVER)
    vote = ledger.prepare(transaction(attempt()))
    assert (vote.kind, vote.reasons) == (
        VoteKind.ABORT,
        (Reason("payment_declined", "The payment was declined."),),
    )
    assert state(ledger) is PaymentState.DECLINED


def test_a_bank_transfer_has_its_own_rate() -> None:
    ledger = Ledger(Luck("seed", 1.0, 0.0))
    assert ledger.prepare(transaction(attempt(order=1), instrument=CARD)).kind is VoteKind.COMMIT
    assert ledger.prepare(transaction(attempt(order=2), instrument=BANK)).kind is VoteKind.ABORT


def test_commit_captures_the_amount_once() -> None:
    ledger = Ledger(ALWAYS)
    ledger.prepare(transaction(attempt(), amount_cents=4_999))
    first = ledger.decide(commit(attempt()))
    assert first.done
    assert 1 <= len(first.confirmation_code) <= 64
    assert ledger.decide(commit(attempt())) == first
    (entry,) = ledger.take_changes()
    payment = entry.payment
    assert payment is not None
    assert (payment.state, payment.charge.amount_cents) == (PaymentState.CAPTURED, 4_999)
    assert payment.confirmation_code == first.confirmation_code
    assert payment.attempt == attempt()


def test_a_confirmation_code_belongs_to_one_attempt_of_one_seed() -> None:
    attempts = [attempt(number, epoch=epoch, order=order) for number in (1, 2) for epoch in (1, 2) for order in (1, 2)]
    codes = {Luck(seed, 1, 1).confirmation_code(of) for seed in ("a", "b") for of in attempts}
    assert len(codes) == 2 * len(attempts)


def test_abort_voids_the_authorisation() -> None:
    ledger = Ledger(ALWAYS)
    ledger.prepare(transaction(attempt()))
    ledger.decide(abort(attempt()))
    assert state(ledger) is PaymentState.VOIDED
    assert ledger.in_doubt == ()


def test_an_order_that_was_only_aborted_has_no_payment() -> None:
    ledger = Ledger(ALWAYS)
    assert ledger.decide(abort(attempt())).done
    assert state(ledger) is None


def test_an_alarm_captures_nothing() -> None:
    ledger = Ledger(ALWAYS)
    ledger.prepare(transaction(attempt(2)))
    assert not ledger.decide(commit(attempt(1))).done
    assert state(ledger) is PaymentState.AUTHORISED


def test_finished_orders_leave_the_ledger_once_they_are_journalled() -> None:
    ledger = Ledger(ALWAYS)
    for order in (1, 2, 3):
        ledger.prepare(transaction(attempt(order=order)))
    ledger.decide(commit(attempt(order=1)))
    ledger.decide(abort(attempt(order=2)))
    # Order n is at position 10 + n.
    ledger.finish_below(13)
    assert len(ledger.take_changes()) == 3
    assert [state(ledger, order) for order in (1, 2, 3)] == [None, None, PaymentState.AUTHORISED]
    assert ledger.prepare(transaction(attempt(2, order=1))).kind is VoteKind.REFUSED


def test_changes_are_taken_once_and_repetitions_change_nothing() -> None:
    ledger = Ledger(ALWAYS)
    ledger.prepare(transaction(attempt()))
    (entry,) = ledger.take_changes()
    assert entry.record.attempt == attempt()
    assert entry.payment is not None
    ledger.prepare(transaction(attempt()))
    assert ledger.take_changes() == []
    ledger.decide(commit(attempt()))
    assert len(ledger.take_changes()) == 1
    ledger.decide(commit(attempt()))
    ledger.decide(abort(attempt(2)))
    assert ledger.take_changes() == []


def test_a_restored_ledger_knows_everything_that_its_changes_said() -> None:
    ledger = Ledger(ALWAYS)
    entries: dict[str, LedgerEntry] = {}
    for order in (1, 2, 3, 4):
        ledger.prepare(transaction(attempt(order=order), amount_cents=order))
        for entry in ledger.take_changes():
            entries[entry.record.attempt.order_id] = entry
    ledger.decide(commit(attempt(order=2)))
    ledger.decide(abort(attempt(order=3)))
    for entry in ledger.take_changes():
        entries[entry.record.attempt.order_id] = entry
    # The luck of the restart is another: what was promised holds all the same.
    again = Ledger(NEVER)
    again.restore(entries.values(), finished_below=3)
    assert set(again.in_doubt) == {attempt(order=1), attempt(order=4)}
    assert state(again, 2) is PaymentState.CAPTURED
    assert again.prepare(transaction(attempt(order=1), amount_cents=1)).kind is VoteKind.COMMIT
    assert again.decide(commit(attempt(order=2))) == ledger.decide(commit(attempt(order=2)))
    assert again.prepare(transaction(attempt(order=3))).kind is VoteKind.REFUSED
    assert again.finished_below == 3
