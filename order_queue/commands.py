"""What goes through the queue's Raft log, and what applying it answers. How the format may change: docs/formats.md."""

import msgspec

from order_queue.order_record import OrderRecord, OrderResult
from utils.clocks.story import Story
from utils.domain.order import QueuedOrder, Reason
from utils.formats import Format


class Bounds(msgspec.Struct, frozen=True):
    """How much the queue may hold. They travel in the command: nodes with other settings must not decide otherwise."""

    pending_max: int
    unrecorded_max: int


class Enqueue(msgspec.Struct, frozen=True, tag=True):
    order: QueuedOrder
    fingerprint: bytes
    bounds: Bounds
    # Of verification.
    story: Story = ()


class RecordRejection(msgspec.Struct, frozen=True, tag=True):
    """A rejection by verification: the order ends where it arrives."""

    order_id: str
    fingerprint: bytes
    reasons: tuple[Reason, ...]
    risk_score: int
    bounds: Bounds
    # Of verification.
    story: Story = ()


class Complete(msgspec.Struct, frozen=True, tag=True):
    results: tuple[OrderResult, ...]


class MarkRecorded(msgspec.Struct, frozen=True, tag=True):
    """PostgreSQL has every order that ended at a log index up to this one."""

    up_to_index: int


class Forget(msgspec.Struct, frozen=True, tag=True):
    """PostgreSQL has had every order that ended at a log index up to this one for longer than keys are remembered.

    The queue forgets all of them but their ids, at most `orders_max` with one command.
    """

    up_to_index: int
    orders_max: int


class RequestRefund(msgspec.Struct, frozen=True, tag=True):
    """Of an approved order, by an operator."""

    order_id: str
    operator: str
    reason: str
    restock: bool
    requested_at_ms: int
    bounds: Bounds
    # What PostgreSQL has of an order that the queue has forgotten.
    archived: OrderRecord | None = None


class CompleteRefund(msgspec.Struct, frozen=True, tag=True):
    """Payment has refunded, and the database restocked if that was asked for; with the story of that."""

    order_id: str
    refund_code: str
    story: Story = ()


Command = Enqueue | RecordRejection | Complete | MarkRecorded | Forget | RequestRefund | CompleteRefund


class Registered(msgspec.Struct, frozen=True):
    """To Enqueue and RecordRejection: the record that won for the order's id, and whether this command made it."""

    record: OrderRecord
    is_new: bool


class InArchive(msgspec.Struct, frozen=True):
    """To Enqueue, RecordRejection and RequestRefund: the id's order ended long ago, and PostgreSQL knows how."""


class Full(msgspec.Struct, frozen=True):
    """To Enqueue and RecordRejection of a new id, and to RequestRefund: a bound is reached, and nothing was kept."""

    what: str
    bound: int


class ResultAlarm(msgspec.Struct, frozen=True):
    """A result that cannot be: `kept` is what stands instead; None if the queue never had this order."""

    result: OrderResult
    kept: OrderRecord | None


class Completed(msgspec.Struct, frozen=True):
    """To Complete: the orders that it ended, and the results that contradict what stands."""

    ended: tuple[OrderRecord, ...]
    alarms: tuple[ResultAlarm, ...]


class Marked(msgspec.Struct, frozen=True):
    """To MarkRecorded."""

    unrecorded: int


class Forgot(msgspec.Struct, frozen=True):
    """To Forget."""

    orders: int


class RefundRequested(msgspec.Struct, frozen=True):
    """To RequestRefund: the record with the refund that won, and whether this command made it."""

    record: OrderRecord
    is_new: bool


class RefundRefused(msgspec.Struct, frozen=True):
    """To RequestRefund: the order is not approved; None: the queue never had it."""

    record: OrderRecord | None


class RefundCompleted(msgspec.Struct, frozen=True):
    """To CompleteRefund. An alarm: nobody has requested it, or it was completed with another code."""

    order_id: str
    is_new: bool
    is_alarm: bool


Outcome = (
    Registered | InArchive | Full | Completed | Marked | Forgot | RefundRequested | RefundRefused | RefundCompleted
)

FORMAT: Format[Command] = Format("a command of the order queue", Command, version=3)


def encode(command: Command) -> bytes:
    """The command as it is logged."""
    return FORMAT.encode(command)


def decode(data: bytes) -> Command:
    """Raises FormatTooNewError."""
    return FORMAT.decode(data)
