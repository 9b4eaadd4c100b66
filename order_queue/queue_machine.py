"""The replicated queue: every node applies the same commands in the same order and holds the same orders.

Rules:
- The first of Enqueue and RecordRejection wins for an order id, for ever; so does the first result.
- An order's position is the log index of its Enqueue. Priority: most books first, then the lowest position.
- Handing out changes nothing here: an order stays until its result is committed (see claims.py).
- An approved order may be refunded, once: the first request wins, and is handed out until it is completed.
- A result is kept until PostgreSQL has it, and as long after that as keys are remembered. Of what is forgotten then
  the id stays, since an order must never run twice.
- A new order is refused when too many are pending or unrecorded, and so is a refund. A result never is.
"""

import itertools
from collections import deque
from collections.abc import Collection

import msgspec

from order_queue import commands
from order_queue.commands import (
    Complete,
    Completed,
    CompleteRefund,
    Enqueue,
    Forget,
    Forgot,
    Full,
    InArchive,
    Marked,
    MarkRecorded,
    Outcome,
    RecordRejection,
    RefundCompleted,
    RefundRefused,
    RefundRequested,
    Registered,
    RequestRefund,
    ResultAlarm,
)
from order_queue.order_heap import OrderHeap
from order_queue.order_record import OrderRecord, OrderResult, OrderState, Refund
from utils.clocks.story import ORDER_QUEUE, Story, last_clock, tell, unpack_clock
from utils.clocks.vector_clock import VectorClock
from utils.domain.order_ids import OrderIds
from utils.formats import Format


class _Snapshot(msgspec.Struct, frozen=True):
    # By position.
    pending: list[OrderRecord]
    # In the order in which they ended, or came back for a refund; each encoded.
    ended: list[bytes]
    # How many of them, from the end, PostgreSQL may not have yet: their log indexes and order ids.
    unrecorded: list[tuple[int, str]]
    # Little-endian numbers.
    forgotten: bytes = b""


SNAPSHOT: Format[_Snapshot] = Format("a snapshot of the order queue", _Snapshot, version=4)


class QueueMachine:
    """A `utils.raft.state_machine.StateMachine`."""

    def __init__(self, heap: OrderHeap) -> None:
        self._heap = heap
        self._pending: dict[str, OrderRecord] = {}
        # Encoded: the many that have ended take a third of the memory so, and the garbage collector skips them.
        self._ended: dict[str, bytes] = {}
        # One entry for an order, of its latest change.
        self._unrecorded: deque[tuple[int, str]] = deque()
        # In the order of their requests; a set that keeps its order.
        self._unfinished_refunds: dict[str, None] = {}
        self._forgotten = OrderIds()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(OrderRecord)

    # What Raft calls.

    def apply(self, index: int, command: bytes) -> Outcome:
        """Carries out the committed command at `index` of the log."""
        match commands.decode(command):
            case Enqueue() as enqueue:
                return self._enqueue(index, enqueue)
            case RecordRejection() as rejection:
                return self._record_rejection(index, rejection)
            case Complete(results):
                return self._complete(index, results)
            case MarkRecorded(up_to_index):
                return self._mark_recorded(up_to_index)
            case Forget(up_to_index, orders_max):
                return self._forget(up_to_index, orders_max)
            case RequestRefund() as request:
                return self._request_refund(index, request)
            case CompleteRefund() as completion:
                return self._complete_refund(index, completion)

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        pending = sorted(self._pending.values(), key=lambda record: record.position)
        ended, unrecorded = list(self._ended.values()), list(self._unrecorded)
        return SNAPSHOT.encode(_Snapshot(pending, ended, unrecorded, self._forgotten.dump()))

    def restore(self, snapshot: bytes) -> None:
        """Replaces the whole state. Raises FormatTooNewError, and changes nothing."""
        state = SNAPSHOT.decode(snapshot)
        self._pending = {record.order_id: record for record in state.pending}
        ended = [self._decoder.decode(data) for data in state.ended]
        self._ended = {record.order_id: data for record, data in zip(ended, state.ended, strict=True)}
        requested = [
            (record.refund.requested_index, record.order_id)
            for record in ended
            if record.refund is not None and not record.refund.done_index
        ]
        self._unfinished_refunds = dict.fromkeys(order_id for _, order_id in sorted(requested))
        self._unrecorded = deque(state.unrecorded)
        self._forgotten = OrderIds(state.forgotten)
        self._heap.clear()
        for record in state.pending:
            self._push(record)

    # What the node's service asks.

    def record(self, order_id: str) -> OrderRecord | None:
        """Where the order stands, or None for an id that the queue does not know, or has forgotten."""
        if (pending := self._pending.get(order_id)) is not None:
            return pending
        if (ended := self._ended.get(order_id)) is not None:
            return self._decoder.decode(ended)
        return None

    def is_forgotten(self, order_id: str) -> bool:
        """Whether the order ended so long ago that only PostgreSQL knows how."""
        return order_id in self._forgotten

    def is_pending(self, order_id: str) -> bool:
        return order_id in self._pending

    def first_pending(self, count: int, *, excluding: Collection[str] = ()) -> list[OrderRecord]:
        """Up to `count` pending orders in order of priority, without those excluded (a set of order ids)."""
        return [self._pending[order_id] for order_id in self._heap.first(count, excluding=excluding)]

    def ahead_of(self, order_id: str, *, excluding: Collection[str] = ()) -> int:
        """How many pending orders come before this pending one, without those excluded (a set of order ids)."""
        return self._heap.ahead_of(order_id, excluding=excluding)

    def first_pending_position(self) -> int | None:
        """The lowest position of a pending order."""
        # Orders come in the order of their positions, and the dictionary keeps it.
        return next((record.position for record in self._pending.values()), None)

    def first_unrecorded(self, count: int) -> list[OrderRecord]:
        """Ended orders whose latest change PostgreSQL may not have, the earliest first: `count`, and the rest of the
        last one's log index.
        """
        chosen: list[OrderRecord] = []
        for index, order_id in self._unrecorded:
            if len(chosen) >= count and index != chosen[-1].changed_index:
                break
            chosen.append(self._decoder.decode(self._ended[order_id]))
        return chosen

    def unfinished_refunds(self, count: int, *, excluding: Collection[str] = ()) -> list[OrderRecord]:
        """Up to `count` orders whose refund was requested and is not completed, without those excluded."""
        waiting = (order_id for order_id in self._unfinished_refunds if order_id not in excluding)
        return [self._decoder.decode(self._ended[order_id]) for order_id in itertools.islice(waiting, count)]

    @property
    def pending_count(self) -> int:
        return len(self._pending)

    @property
    def ended_count(self) -> int:
        """Forgotten ones included."""
        return len(self._ended) + len(self._forgotten)

    @property
    def unrecorded_count(self) -> int:
        return len(self._unrecorded)

    def full(self, bounds: commands.Bounds) -> Full | None:
        """Why a new order would be refused now, if it would."""
        if len(self._pending) >= bounds.pending_max:
            return Full("pending orders", bounds.pending_max)
        if len(self._unrecorded) >= bounds.unrecorded_max:
            return Full("ended orders that are not recorded yet", bounds.unrecorded_max)
        return None

    # The commands.

    def _enqueue(self, index: int, command: Enqueue) -> Registered | InArchive | Full:
        order = command.order
        if (known := self._known(order.order_id) or self.full(command.bounds)) is not None:
            return known
        record = OrderRecord(
            order.order_id,
            OrderState.PENDING,
            index,
            command.fingerprint,
            risk_score=order.risk_score,
            order=order,
            story=tell(command.story, ORDER_QUEUE, "enqueued", VectorClock(order.clock)),
        )
        self._pending[order.order_id] = record
        self._push(record)
        return Registered(record, is_new=True)

    def _record_rejection(self, index: int, command: RecordRejection) -> Registered | InArchive | Full:
        if (known := self._known(command.order_id) or self.full(command.bounds)) is not None:
            return known
        record = OrderRecord(
            command.order_id,
            OrderState.REJECTED,
            index,
            command.fingerprint,
            risk_score=command.risk_score,
            reasons=command.reasons,
            ended_index=index,
            story=tell(command.story, ORDER_QUEUE, "rejection recorded", VectorClock()),
        )
        self._end(record)
        return Registered(record, is_new=True)

    def _complete(self, index: int, results: tuple[OrderResult, ...]) -> Completed:
        ended: list[OrderRecord] = []
        alarms: list[ResultAlarm] = []
        for result in results:
            if self.is_forgotten(result.order_id):
                continue
            record = self.record(result.order_id)
            if record is None or (record.ended_index and not result.agrees_with(record)):
                alarms.append(ResultAlarm(result, record))
            elif not record.ended_index:
                self._heap.remove(result.order_id)
                del self._pending[result.order_id]
                record = msgspec.structs.replace(
                    record,
                    state=result.state,
                    reasons=result.reasons,
                    confirmation_code=result.confirmation_code,
                    ended_index=index,
                    story=_completed(record.story, result),
                )
                self._end(record)
                ended.append(record)
        return Completed(tuple(ended), tuple(alarms))

    def _mark_recorded(self, up_to_index: int) -> Marked:
        while self._unrecorded and self._unrecorded[0][0] <= up_to_index:
            self._unrecorded.popleft()
        return Marked(len(self._unrecorded))

    def _forget(self, up_to_index: int, orders_max: int) -> Forgot:
        if self._unrecorded:
            up_to_index = min(up_to_index, self._unrecorded[0][0] - 1)
        gone: list[str] = []
        for order_id, data in self._ended.items():
            record = self._decoder.decode(data)
            if len(gone) == orders_max or record.ended_index > up_to_index:
                break
            if record.changed_index <= up_to_index and order_id not in self._unfinished_refunds:
                gone.append(order_id)
        for order_id in gone:
            del self._ended[order_id]
            self._forgotten.add(order_id)
        return Forgot(len(gone))

    def _request_refund(self, index: int, command: RequestRefund) -> RefundRequested | RefundRefused | InArchive | Full:
        order_id = command.order_id
        record = self.record(order_id)
        if record is None and self.is_forgotten(order_id):
            if command.archived is None:
                return InArchive()
            record = command.archived
        if record is None or record.state is not OrderState.APPROVED:
            return RefundRefused(record)
        if record.refund is not None:
            return RefundRequested(record, is_new=False)
        if len(self._unfinished_refunds) >= command.bounds.pending_max:
            return Full("unfinished refunds", command.bounds.pending_max)
        if (full := self.full(command.bounds)) is not None:
            return full
        record = msgspec.structs.replace(
            record,
            refund=Refund(command.operator, command.reason, command.restock, command.requested_at_ms, index),
            story=tell(record.story, ORDER_QUEUE, "refund requested", VectorClock()),
        )
        self._forgotten.discard(order_id)
        self._unfinished_refunds[order_id] = None
        self._change(record)
        return RefundRequested(record, is_new=True)

    def _complete_refund(self, index: int, command: CompleteRefund) -> RefundCompleted:
        order_id = command.order_id
        record = self.record(order_id)
        if record is None or record.refund is None:
            return RefundCompleted(order_id, is_new=False, is_alarm=not self.is_forgotten(order_id))
        if record.refund.done_index:
            is_alarm = record.refund.refund_code != command.refund_code
            return RefundCompleted(order_id, is_new=False, is_alarm=is_alarm)
        refund = msgspec.structs.replace(record.refund, refund_code=command.refund_code, done_index=index)
        story = tell((*record.story, *command.story), ORDER_QUEUE, "refunded", last_clock(record.story))
        del self._unfinished_refunds[order_id]
        self._change(msgspec.structs.replace(record, refund=refund, story=story))
        return RefundCompleted(order_id, is_new=True, is_alarm=False)

    def _change(self, record: OrderRecord) -> None:
        """Of an order that has ended before. PostgreSQL need not have what was before this."""
        self._unrecorded = deque(entry for entry in self._unrecorded if entry[1] != record.order_id)
        self._ended[record.order_id] = self._encoder.encode(record)
        self._unrecorded.append((record.changed_index, record.order_id))

    def _known(self, order_id: str) -> Registered | InArchive | None:
        if (existing := self.record(order_id)) is not None:
            return Registered(existing, is_new=False)
        return InArchive() if self.is_forgotten(order_id) else None

    def _push(self, record: OrderRecord) -> None:
        assert record.order is not None, "a pending order has its content"
        self._heap.push(record.order_id, quantity=record.order.quantity, position=record.position)

    def _end(self, record: OrderRecord) -> None:
        self._ended[record.order_id] = self._encoder.encode(record)
        self._unrecorded.append((record.ended_index, record.order_id))


def _completed(story: Story, result: OrderResult) -> Story:
    heard = last_clock(story).merge(unpack_clock(result.clock))
    return tell((*story, *result.story), ORDER_QUEUE, "completed", heard, epoch=result.epoch)
