"""One value of everything that is kept. They never change: golden files hold them as each version has written them.

When a format grows, a sample with what is new joins those that are here, at the end.
"""

from typing import Final

from db_node import commands as database
from order_queue import commands as queue
from order_queue.order_record import OrderResult
from payment.ledger import Charge, LedgerEntry, Payment, PaymentState
from utils.clocks.story import ORDER_EXECUTOR, ORDER_QUEUE, PAYMENT, Event, pack, pack_clock
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import Book, PaymentInstrument, PaymentMethod, PricedItem, QueuedOrder, Reason
from utils.raft.core.configuration import Configuration
from utils.raft.core.messages import Entry, EntryKind, Snapshot
from utils.raft.core.ready import HardState
from utils.two_phase_commit import decision_log as decisions
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.fenced_log import Epoch
from utils.two_phase_commit.messages import Attempt, Decision
from utils.two_phase_commit.participant import Phase, Record

_FIRST, _SECOND, _THIRD = (digit * 32 for digit in "abc")
_CLOCK = VectorClock({"orchestrator": 1, "transaction_verification": 3, "fraud_detection": 2, "suggestions": 1})
_VERIFIED = pack(Event("suggestions", "F books", _CLOCK))
_REASON = Reason("card_expired", "The card has expired.", "/creditCard/expirationDate")
_CARD = PaymentInstrument(PaymentMethod.CARD, "visa", "1111")
_BOUNDS = queue.Bounds(1_000, 2_000)
_ORDER = QueuedOrder(
    order_id=_FIRST,
    items=(PricedItem("Book A", 2, 1_250), PricedItem("Les Misérables", 1, 1_999)),
    shipping_cents=499,
    amount_cents=4_998,
    instrument=_CARD,
    suggested_books=(Book("book-c", "Book C", "C. Author"),),
    risk_score=7,
    discount_code="SPRING",
    clock=dict(_CLOCK.entries),
    accepted_at_ms=1_767_225_600_000,
    customer_hash="0123456789abcdef",
)
_DECIDED = pack(Event(ORDER_EXECUTOR, "committed", _CLOCK.tick(ORDER_QUEUE).tick(ORDER_EXECUTOR), 3, 1))
_DECIDED_CLOCK = pack_clock(_CLOCK.tick(ORDER_QUEUE).tick(ORDER_EXECUTOR))

_STORY = (pack(Event(PAYMENT, "committed", _CLOCK.tick(PAYMENT), 3, 1)),)

QUEUE_COMMANDS: Final[dict[str, queue.Command]] = {
    "Enqueue": queue.Enqueue(_ORDER, b"\x01fingerprint", _BOUNDS, (_VERIFIED,)),
    "Enqueue of another order": queue.Enqueue(
        QueuedOrder(_SECOND, (PricedItem("Book B", 3, 800),), 0, 2_400, _CARD), b"\x02fingerprint", _BOUNDS
    ),
    "RecordRejection": queue.RecordRejection(_THIRD, b"\x03fingerprint", (_REASON,), 88, _BOUNDS, (_VERIFIED,)),
    "Complete": queue.Complete(
        (OrderResult(_FIRST, 3, approved=True, confirmation_code="PAY-1", story=(_DECIDED,), clock=_DECIDED_CLOCK),)
    ),
    "MarkRecorded": queue.MarkRecorded(3),
    "Forget": queue.Forget(3, 100),
    "RequestRefund": queue.RequestRefund(_FIRST, "ada", "The parcel was lost.", True, 1_767_225_700_000, _BOUNDS),
    "CompleteRefund": queue.CompleteRefund(_FIRST, "REF-1", _STORY),
}

_ATTEMPTS = tuple(Attempt(order_id, 3, 1) for order_id in (_FIRST, _SECOND, _THIRD))
_COMMIT = OrderDecision(_ATTEMPTS[0], 1, commit=True, story=(_DECIDED,))
_REJECT = OrderDecision(_ATTEMPTS[1], 2, commit=False, reasons=(Reason("out_of_stock", "None is left."),))

DECISION_COMMANDS: Final[dict[str, decisions.Command]] = {
    "RecordDecision to commit": decisions.RecordDecision(_COMMIT),
    "RecordDecision to reject": decisions.RecordDecision(_REJECT),
    "RecordFinished": decisions.RecordFinished(_FIRST),
    "PublishFinished": decisions.PublishFinished(2),
}

_EPOCH = Epoch(4, "order_executor_1", "a1")
DATABASE_COMMANDS: Final[dict[str, database.Command]] = {
    "Seed": database.Seed({"stock:Book A": 100, "stock:Book B": 2, "price:Book A": 1_250}),
    "Write": database.Write("motto", "sapere aude", 0, database.RequestId("client-1", 1)),
    "DecrementStock": database.DecrementStock("Book A", 1, database.RequestId("client-2", 7)),
    "Prepare": database.Prepare(
        (
            database.OrderedCopies(_ATTEMPTS[0], 1, {"Book A": 2}, _DECIDED_CLOCK),
            database.OrderedCopies(_ATTEMPTS[1], 2, {"Book B": 3}),
            database.OrderedCopies(_ATTEMPTS[2], 3, {"Book B": 1}, _DECIDED_CLOCK),
        ),
        finished_below=1,
    ),
    "Decide": database.Decide((Decision(_ATTEMPTS[0], commit=True, position=1, clock=_DECIDED_CLOCK),)),
    "RaiseEpoch": database.RaiseEpoch(0, "order_executor_1", "a1"),
    "RecordDecisions": database.RecordDecisions(_EPOCH, tuple(DECISION_COMMANDS.values())[:2]),
    "Restock": database.Restock(_FIRST, 1, {"Book A": 2}, _DECIDED_CLOCK),
}

_FOURTH = Attempt("d" * 32, 4, 2)
_CHARGE = Charge(4_998, _CARD)
LEDGER_ENTRIES: Final = (
    LedgerEntry(
        Record(_ATTEMPTS[0], Phase.COMMITTED, 1, confirmation_code="PAY-1", story=_STORY),
        Payment(_ATTEMPTS[0], PaymentState.CAPTURED, _CHARGE, "PAY-1"),
    ),
    LedgerEntry(
        Record(_ATTEMPTS[1], Phase.DECLINED, 2, reasons=(Reason("payment_declined", "The payment was declined."),)),
        Payment(_ATTEMPTS[1], PaymentState.DECLINED, _CHARGE),
    ),
    LedgerEntry(Record(_ATTEMPTS[2], Phase.ABORTED, 0), None),
    LedgerEntry(
        Record(_FOURTH, Phase.COMMITTED, 4, confirmation_code="PAY-4"),
        Payment(_FOURTH, PaymentState.REFUNDED, _CHARGE, "PAY-4", "REF-4"),
    ),
)
FINISHED_BELOW: Final = 1

RAFT_CONFIGURATION: Final = Configuration({"node_1": "node_1:50054", "node_2": "node_2:50054"}, {"node_3": "n:1"})
RAFT_SNAPSHOT: Final = Snapshot(2, 1, RAFT_CONFIGURATION.encoded(), b"the state of a machine")
RAFT_ENTRIES: Final = (
    Entry(1, 1, EntryKind.NO_OP, b""),
    Entry(2, 1, EntryKind.CONFIGURATION, RAFT_CONFIGURATION.encoded()),
    Entry(3, 2, EntryKind.NO_OP, b""),
    Entry(4, 2, EntryKind.COMMAND, b"a command"),
)
RAFT_HARD_STATE: Final = HardState(2, "node_1")
