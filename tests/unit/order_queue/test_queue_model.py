"""The machine against a model of a few lines, under any commands in any order, doubled and contradictory."""

from hypothesis import given, settings, strategies as st

from order_queue.commands import (
    Bounds,
    Command,
    Complete,
    CompleteRefund,
    Enqueue,
    Forget,
    MarkRecorded,
    RecordRejection,
    RequestRefund,
    encode,
)
from order_queue.order_record import OrderState
from tests.unit.order_queue import words
from tests.unit.order_queue.words import (
    approved,
    enqueue,
    forget,
    mark_recorded,
    order_id,
    rejected,
    rejection,
    request_refund,
)

_BOUNDS = Bounds(pending_max=6, unrecorded_max=5)
_numbers = st.integers(1, 12)
_results = st.builds(approved, _numbers) | st.builds(rejected, _numbers)
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(lambda n, quantity: enqueue(n, quantity, bounds=_BOUNDS), _numbers, st.integers(1, 4)),
    st.builds(lambda n: rejection(n, bounds=_BOUNDS), _numbers),
    st.lists(_results, min_size=1, max_size=4).map(lambda results: Complete(tuple(results))),
    st.builds(mark_recorded, st.integers(0, 60)),
    st.builds(forget, st.integers(0, 60), st.integers(1, 4)),
    st.builds(lambda n, archived: request_refund(n, bounds=_BOUNDS, archived=archived), _numbers, st.booleans()),
    st.builds(lambda n: CompleteRefund(order_id(n), "REF"), _numbers),
)


class _Model:
    """Orders in plain dictionaries, priority by sorting."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, tuple[OrderState, str]] = {}
        self.unrecorded: list[tuple[int, str]] = []
        self.forgotten: set[str] = set()
        # Whether it is done.
        self.refunds: dict[str, bool] = {}
        # Of the end, or of what came after it.
        self.changed_at: dict[str, int] = {}

    def apply(self, index: int, command: Command) -> None:
        match command:
            case Enqueue(order):
                if self._has_room_for(order.order_id):
                    self.waiting[order.order_id] = (-order.quantity, index)
            case RecordRejection(rejected_id):
                if self._has_room_for(rejected_id):
                    self._end(index, rejected_id, (OrderState.REJECTED, ""))
            case Complete(results):
                for result in results:
                    if self.waiting.pop(result.order_id, None):
                        self._end(index, result.order_id, (result.state, result.confirmation_code))
            case MarkRecorded(up_to_index):
                self.unrecorded = [entry for entry in self.unrecorded if entry[0] > up_to_index]
            case Forget(up_to_index, orders_max):
                self._forget(up_to_index, orders_max)
            case RequestRefund(refunded_id, archived=archived):
                self._request_refund(index, refunded_id, is_archived=archived is not None)
            case CompleteRefund(refunded_id):
                self._complete_refund(index, refunded_id)

    def _complete_refund(self, index: int, refunded_id: str) -> None:
        if self.refunds.get(refunded_id) is False:
            self.refunds[refunded_id] = True
            self._change(index, refunded_id)

    def _forget(self, up_to_index: int, orders_max: int) -> None:
        recorded = [at for at in self.changed_at.items() if all(at[1] < index for index, _ in self.unrecorded)]
        old = [ended_id for ended_id, at in recorded if at <= up_to_index]
        for ended_id in [ended_id for ended_id in old if self.refunds.get(ended_id, True)][:orders_max]:
            del self.ended[ended_id], self.changed_at[ended_id]
            self.refunds.pop(ended_id, None)
            self.forgotten.add(ended_id)

    def _request_refund(self, index: int, refunded_id: str, *, is_archived: bool) -> None:
        state, _ = self.ended.get(refunded_id, (None, ""))
        if refunded_id in self.forgotten and is_archived:
            state = OrderState.APPROVED
        unfinished = [done for done in self.refunds.values() if not done]
        if state is OrderState.APPROVED and refunded_id not in self.refunds and len(unfinished) < 6 and self._has_room:
            self.refunds[refunded_id] = False
            self.forgotten.discard(refunded_id)
            self.ended.setdefault(refunded_id, (OrderState.APPROVED, ""))
            self._change(index, refunded_id)

    def by_priority(self) -> list[str]:
        return sorted(self.waiting, key=self.waiting.__getitem__)

    def _has_room_for(self, new_id: str) -> bool:
        known = new_id in self.waiting or new_id in self.ended or new_id in self.forgotten
        return not known and self._has_room

    @property
    def _has_room(self) -> bool:
        return len(self.waiting) < 6 and len(self.unrecorded) < 5

    def _end(self, index: int, ended_id: str, end: tuple[OrderState, str]) -> None:
        self.ended[ended_id] = end
        self._change(index, ended_id)

    def _change(self, index: int, ended_id: str) -> None:
        self.changed_at[ended_id] = index
        self.unrecorded = [entry for entry in self.unrecorded if entry[1] != ended_id]
        self.unrecorded.append((index, ended_id))


@settings(max_examples=200, deadline=None)
@given(st.lists(_commands, max_size=60), st.integers(0, 60), st.sets(_numbers))
def test_the_machine_agrees_with_its_model_and_with_a_copy_restored_on_the_way(
    commands: list[Command], snapshot_at: int, excluded: set[int]
) -> None:
    machine, copy, model = words.machine(), words.machine(), _Model()
    for index, command in enumerate(commands, 1):
        if index - 1 == snapshot_at:
            copy.restore(machine.snapshot())
        outcome = machine.apply(index, encode(command))
        if index - 1 >= snapshot_at:
            assert copy.apply(index, encode(command)) == outcome
        model.apply(index, command)

        excluded_ids = {order_id(number) for number in excluded}
        by_priority = model.by_priority()
        assert [record.order_id for record in machine.first_pending(99)] == by_priority
        without_excluded = [waiting_id for waiting_id in by_priority if waiting_id not in excluded_ids]
        first = machine.first_pending(2, excluding=excluded_ids)
        assert [record.order_id for record in first] == without_excluded[:2]
        assert [(r.changed_index, r.order_id) for r in machine.first_unrecorded(99)] == model.unrecorded
        unfinished = {refunded_id for refunded_id, is_done in model.refunds.items() if not is_done}
        assert {record.order_id for record in machine.unfinished_refunds(99)} == unfinished
        assert {n for n in range(1, 13) if machine.is_forgotten(order_id(n))} == {
            n for n in range(1, 13) if order_id(n) in model.forgotten
        }
        for place, waiting_id in enumerate(by_priority):
            ahead = [other for other in by_priority[:place] if other not in excluded_ids]
            assert machine.ahead_of(waiting_id, excluding=excluded_ids) == len(ahead)
    for number in range(1, 13):
        record = machine.record(order_id(number))
        end = model.ended.get(order_id(number))
        if record is None or not record.ended_index:
            assert end is None
            assert (record is not None) == (order_id(number) in model.waiting)
        else:
            assert (record.state, record.confirmation_code) == end
    if len(commands) > snapshot_at:
        assert copy.snapshot() == machine.snapshot()
