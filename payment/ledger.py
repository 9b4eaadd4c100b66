"""Payment's decisions: which order is authorised, captured, refunded. Pure: the journal makes them durable.

It holds what can still change. Of orders that are finished only the journal knows.
"""

import enum
import hashlib
from base64 import b32encode
from collections.abc import Iterable

import msgspec

from utils.clocks.story import PAYMENT, Story
from utils.domain.order import PaymentInstrument, PaymentMethod, Reason
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Transaction, Vote, VoteKind
from utils.two_phase_commit.participant import Participant, Record, Verdict

_DECLINED = Reason("payment_declined", "The payment was declined.")


class Luck(msgspec.Struct, frozen=True):
    """The simulated bank: it authorises some orders and declines others, always the same ones for the same seed.

    Nothing else has a say in it, so that a vote can be repeated by a new attempt. Rates are from 0 to 1.
    """

    seed: str
    card_success_rate: float
    bank_success_rate: float

    def authorises(self, order_id: str, method: PaymentMethod) -> bool:
        rate = self.card_success_rate if method is PaymentMethod.CARD else self.bank_success_rate
        drawn = int.from_bytes(self._hash("authorise", order_id)[:8]) / 2**64
        return drawn < rate

    def confirmation_code(self, attempt: Attempt) -> str:
        """20 characters; the same for the same attempt."""
        return f"PAY-{self._code('confirm', attempt)}"

    def refund_code(self, attempt: Attempt) -> str:
        """Of the same kind."""
        return f"REF-{self._code('refund', attempt)}"

    def _code(self, purpose: str, attempt: Attempt) -> str:
        digest = self._hash(purpose, attempt.order_id, str(attempt.epoch), str(attempt.number))
        return b32encode(digest[:10]).decode()

    def _hash(self, *parts: str) -> bytes:
        return hashlib.sha256("\0".join((self.seed, *parts)).encode()).digest()


class Charge(msgspec.Struct, frozen=True):
    """What payment has to know of an order."""

    amount_cents: int
    instrument: PaymentInstrument


class PaymentState(enum.StrEnum):
    AUTHORISED = "authorised"
    DECLINED = "declined"
    CAPTURED = "captured"
    VOIDED = "voided"
    # What was captured.
    REFUNDED = "refunded"


class Payment(msgspec.Struct, frozen=True):
    """Where an order's payment stands, and by which attempt."""

    attempt: Attempt
    state: PaymentState
    charge: Charge
    # Only when captured, and from then on.
    confirmation_code: str = ""
    # Only when refunded.
    refund_code: str = ""

    @property
    def was_captured(self) -> bool:
        return self.state in (PaymentState.CAPTURED, PaymentState.REFUNDED)


class LedgerEntry(msgspec.Struct, frozen=True):
    """All that is known of one order, and what the journal keeps of it. No payment: only an Abort has named it."""

    record: Record[Charge]
    payment: Payment | None


class Ledger:
    """Holds have no timer: they end by a decision, or by a newer attempt of the same order."""

    def __init__(self, luck: Luck) -> None:
        self._luck = luck
        self._participant = Participant[Charge](self, host=PAYMENT)
        self._payments: dict[str, Payment] = {}
        self._changed: set[str] = set()
        # Of orders that have left the ledger, not journalled yet.
        self._refunded: dict[str, LedgerEntry] = {}

    def restore(self, entries: Iterable[LedgerEntry], finished_below: int) -> None:
        """Replaces everything by what the journal holds."""
        records = {}
        self._payments = {}
        for entry in entries:
            order_id = entry.record.attempt.order_id
            records[order_id] = entry.record
            if entry.payment is not None:
                self._payments[order_id] = entry.payment
        self._participant.restore(records, finished_below)
        self._changed = set()
        self._refunded = {}

    def take_changes(self) -> list[LedgerEntry]:
        """The orders that have changed since the last call: to be journalled before any answer leaves.

        Finished orders leave the ledger with it.
        """
        entries = [
            LedgerEntry(self._participant.records[order_id], self._payments.get(order_id)) for order_id in self._changed
        ]
        entries += self._refunded.values()
        self._changed = set()
        self._refunded = {}
        for order_id in self._participant.prune():
            self._payments.pop(order_id, None)
        return entries

    @property
    def finished_below(self) -> int:
        return self._participant.finished_below

    @property
    def in_doubt(self) -> tuple[Attempt, ...]:
        """Authorised attempts whose decision is not known here."""
        return self._participant.in_doubt

    def finish_below(self, position: int) -> None:
        self._participant.finish_below(position)

    def prepare(self, transaction: Transaction) -> Vote:
        order_id = transaction.attempt.order_id
        before = self._participant.records.get(order_id)
        charge = Charge(transaction.amount_cents, transaction.instrument)
        vote = self._participant.prepare(transaction.attempt, transaction.position, charge, transaction.clock)
        self._note(order_id, before)
        return vote

    def decide(self, decision: Decision) -> Acknowledgement:
        order_id = decision.attempt.order_id
        before = self._participant.records.get(order_id)
        acknowledgement = self._participant.decide(decision)
        self._note(order_id, before)
        return acknowledgement

    def refund(self, entry: LedgerEntry) -> str:
        """Gives back what was captured, in full. Returns the code of the refund: the same for the same order.

        `entry`: what the journal holds of the order, which was captured, and may have left the ledger long ago.
        """
        order_id = entry.record.attempt.order_id
        payment = self._payments.get(order_id, entry.payment)
        assert payment is not None
        assert payment.was_captured, payment
        if payment.state is PaymentState.REFUNDED:
            return payment.refund_code
        code = self._luck.refund_code(payment.attempt)
        payment = msgspec.structs.replace(payment, state=PaymentState.REFUNDED, refund_code=code)
        if order_id in self._payments:
            self._payments[order_id] = payment
            self._changed.add(order_id)
        else:
            self._refunded[order_id] = LedgerEntry(entry.record, payment)
        return code

    def story(self, order_id: str) -> Story:
        """What has happened to an order here, as far as it is remembered."""
        record = self._participant.records.get(order_id)
        return record.story if record else ()

    def hold(self, attempt: Attempt, work: Charge) -> Verdict:
        """Authorises (utils.two_phase_commit.participant.Business)."""
        authorised = self._luck.authorises(attempt.order_id, work.instrument.method)
        state = PaymentState.AUTHORISED if authorised else PaymentState.DECLINED
        self._payments[attempt.order_id] = Payment(attempt, state, work)
        return Verdict(VoteKind.COMMIT) if authorised else Verdict(VoteKind.ABORT, (_DECLINED,))

    def commit(self, attempt: Attempt, work: Charge) -> str:
        """Captures."""
        code = self._luck.confirmation_code(attempt)
        self._payments[attempt.order_id] = Payment(attempt, PaymentState.CAPTURED, work, code)
        return code

    def release(self, attempt: Attempt, work: Charge) -> None:
        """Voids the authorisation."""
        self._payments[attempt.order_id] = Payment(attempt, PaymentState.VOIDED, work)

    def _note(self, order_id: str, before: Record[Charge] | None) -> None:
        if self._participant.records.get(order_id) is not before:
            self._changed.add(order_id)
