"""The machine against a model of a few lines, under any commands in any order, doubled and contradictory."""

from hypothesis import given, settings, strategies as st

from order_queue.commands import Bounds, Command, Complete, Enqueue, Forget, MarkRecorded, RecordRejection, encode
from order_queue.order_record import OrderState
from tests.unit.order_queue import words
from tests.unit.order_queue.words import approved, enqueue, forget, mark_recorded, order_id, rejected, rejection

_BOUNDS = Bounds(pending_max=6, unrecorded_max=5)
_numbers = st.integers(1, 12)
_results = st.builds(approved, _numbers) | st.builds(rejected, _numbers)
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(lambda n, quantity: enqueue(n, quantity, bounds=_BOUNDS), _numbers, st.integers(1, 4)),
    st.builds(lambda n: rejection(n, bounds=_BOUNDS), _numbers),
    st.lists(_results, min_size=1, max_size=4).map(lambda results: Complete(tuple(results))),
    st.builds(mark_recorded, st.integers(0, 60)),
    st.builds(forget, st.integers(0, 60), st.integers(1, 4)),
)


class _Model:
    """Orders in plain dictionaries, priority by sorting."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, tuple[OrderState, str]] = {}
        self.ended_at: dict[str, int] = {}
        self.unrecorded: list[tuple[int, str]] = []
        self.forgotten: set[str] = set()

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
                recorded = [at for at in self.ended_at.items() if all(at[1] < index for index, _ in self.unrecorded)]
                for ended_id, _ in [at for at in recorded if at[1] <= up_to_index][:orders_max]:
                    del self.ended[ended_id], self.ended_at[ended_id]
                    self.forgotten.add(ended_id)

    def by_priority(self) -> list[str]:
        return sorted(self.waiting, key=self.waiting.__getitem__)

    def _has_room_for(self, new_id: str) -> bool:
        known = new_id in self.waiting or new_id in self.ended or new_id in self.forgotten
        return not known and len(self.waiting) < 6 and len(self.unrecorded) < 5

    def _end(self, index: int, ended_id: str, end: tuple[OrderState, str]) -> None:
        self.ended[ended_id] = end
        self.ended_at[ended_id] = index
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
        assert [(r.ended_index, r.order_id) for r in machine.first_unrecorded(99)] == model.unrecorded
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
