from typing import Any

import msgspec
import pytest

from order_queue.commands import (
    Bounds,
    Command,
    Completed,
    Forgot,
    Full,
    InArchive,
    Marked,
    Registered,
    ResultAlarm,
    decode,
    encode,
)
from order_queue.order_record import OrderRecord, OrderState
from order_queue.queue_machine import QueueMachine
from tests.unit.order_queue import words
from tests.unit.order_queue.words import approved, complete, enqueue, mark_recorded, order_id, rejected, rejection
from utils.clocks.story import tell
from utils.clocks.vector_clock import VectorClock


def applied(machine: QueueMachine, *commands: Command, start: int = 1) -> list[Any]:
    """What applying each of them, at the indexes from `start` on, returned."""
    return [machine.apply(index, encode(command)) for index, command in enumerate(commands, start)]


def waiting(machine: QueueMachine) -> list[str]:
    return [record.order_id for record in machine.first_pending(1_000)]


@pytest.mark.parametrize(
    "command", [enqueue(1), rejection(1), complete(approved(1), rejected(2)), mark_recorded(7)], ids=type
)
def test_commands_survive_the_log(command: Command) -> None:
    assert decode(encode(command)) == command


def test_an_order_arrives_at_its_index_and_waits() -> None:
    machine = words.machine()
    [outcome] = applied(machine, enqueue(1, 3, body=9), start=41)
    expected = OrderRecord(
        order_id(1),
        OrderState.PENDING,
        41,
        words.fingerprint(9),
        risk_score=12,
        order=words.order(1, 3),
        story=tell((), "order_queue", "enqueued", VectorClock(words.order(1, 3).clock)),
    )
    assert outcome == Registered(expected, is_new=True)
    assert machine.record(order_id(1)) == expected
    assert machine.is_pending(order_id(1))


def test_priority_is_the_number_of_books_and_then_the_log() -> None:
    machine = words.machine()
    applied(machine, enqueue(1, 2), enqueue(2, 5), enqueue(3, 2), enqueue(4, 5), enqueue(5, 1))
    assert waiting(machine) == [order_id(number) for number in (2, 4, 1, 3, 5)]


def test_an_unknown_order_has_no_record() -> None:
    assert words.machine().record(order_id(1)) is None


@pytest.mark.parametrize("again", [enqueue(1, body=1), enqueue(1, 8, body=2), rejection(1, body=2)])
def test_the_first_enqueue_wins_and_tells_its_fingerprint(again: Command) -> None:
    machine = words.machine()
    first, second = applied(machine, enqueue(1, 3, body=1), again)
    assert second == Registered(first.record, is_new=False)
    assert waiting(machine) == [order_id(1)]


@pytest.mark.parametrize("again", [enqueue(1, body=2), rejection(1, body=2)])
def test_the_first_rejection_wins_and_nothing_waits(again: Command) -> None:
    machine = words.machine()
    first, second = applied(machine, rejection(1, body=1), again)
    assert first.record.state is OrderState.REJECTED
    assert first.record.ended_index == first.record.position == 1
    assert second == Registered(first.record, is_new=False)
    assert waiting(machine) == []


def test_an_order_that_ended_does_not_run_again() -> None:
    machine = words.machine()
    applied(machine, enqueue(1), complete(approved(1)), mark_recorded(2))
    [again] = applied(machine, enqueue(1), start=4)
    assert again.record.state is OrderState.APPROVED
    assert waiting(machine) == []


def test_results_end_orders() -> None:
    machine = words.machine()
    applied(machine, enqueue(1), enqueue(2), enqueue(3))
    [outcome] = applied(machine, complete(approved(1), rejected(3)), start=7)
    assert [record.order_id for record in outcome.ended] == [order_id(1), order_id(3)]
    assert outcome.alarms == ()
    one, three = outcome.ended
    assert (one.state, one.confirmation_code, one.ended_index) == (OrderState.APPROVED, "CODE-1", 7)
    assert (three.state, three.reasons, three.position) == (OrderState.REJECTED, (words.NO_STOCK,), 3)
    assert [machine.record(order_id(1)), machine.record(order_id(3))] == [one, three]
    assert waiting(machine) == [order_id(2)]
    assert (machine.pending_count, machine.ended_count) == (1, 2)


def test_the_same_result_from_a_later_epoch_changes_nothing() -> None:
    machine = words.machine()
    _, first, again = applied(machine, enqueue(1), complete(approved(1)), complete(approved(1, epoch=9)))
    assert again == Completed((), ())
    assert machine.record(order_id(1)) == first.ended[0]
    assert machine.unrecorded_count == 1


@pytest.mark.parametrize("other", [rejected(1, epoch=9), approved(1, code="ANOTHER")])
def test_a_different_result_is_an_alarm_and_changes_nothing(other: Any) -> None:
    machine = words.machine()
    _, first, second = applied(machine, enqueue(1), complete(approved(1)), complete(other))
    assert second == Completed((), (ResultAlarm(other, first.ended[0]),))
    assert machine.record(order_id(1)) == first.ended[0]


def test_a_result_for_an_order_that_never_waited_is_an_alarm() -> None:
    machine = words.machine()
    first, second = applied(machine, rejection(2), complete(approved(1), rejected(2)))
    assert second.alarms == (ResultAlarm(approved(1), None), ResultAlarm(rejected(2), first.record))
    assert machine.record(order_id(1)) is None


def test_a_result_is_taken_though_its_neighbours_raise_alarms() -> None:
    machine = words.machine()
    _, outcome = applied(machine, enqueue(2), complete(approved(1), approved(2)))
    assert [record.order_id for record in outcome.ended] == [order_id(2)]


def test_the_queue_is_full_at_its_bound_and_has_room_again_after_a_result() -> None:
    bounds = Bounds(pending_max=2, unrecorded_max=100)
    machine = words.machine()
    outcomes = applied(machine, *(enqueue(number, bounds=bounds) for number in (1, 2, 3)), rejection(4, bounds=bounds))
    assert outcomes[2:] == [Full("pending orders", 2)] * 2
    assert machine.record(order_id(3)) is machine.record(order_id(4)) is None
    *_, again = applied(machine, complete(approved(1)), enqueue(3, bounds=bounds), start=5)
    assert again.is_new


def test_a_full_queue_still_knows_the_orders_it_has() -> None:
    bounds = Bounds(pending_max=1, unrecorded_max=100)
    machine = words.machine()
    first, again = applied(machine, enqueue(1, bounds=bounds), enqueue(1, bounds=bounds))
    assert again == Registered(first.record, is_new=False)


def test_too_many_unrecorded_ends_stop_new_orders_but_no_result() -> None:
    bounds = Bounds(pending_max=100, unrecorded_max=2)
    machine = words.machine()
    applied(machine, enqueue(1, bounds=bounds), enqueue(2, bounds=bounds), rejection(3, bounds=bounds))
    result, refused = applied(machine, complete(approved(1), approved(2)), enqueue(4, bounds=bounds), start=4)
    assert len(result.ended) == 2
    assert refused == Full("ended orders that are not recorded yet", 2)
    marked, accepted = applied(machine, mark_recorded(4), enqueue(4, bounds=bounds), start=6)
    assert marked == Marked(0)
    assert accepted.is_new


def test_unrecorded_orders_come_in_the_order_of_their_ends_until_they_are_marked() -> None:
    machine = words.machine()
    applied(
        machine, enqueue(1), enqueue(2), rejection(3), complete(approved(2), approved(1)), rejection(4), rejection(5)
    )
    assert [record.order_id for record in machine.first_unrecorded(10)] == [order_id(n) for n in (3, 2, 1, 4, 5)]
    # What ended at one index stays together, since marking is by index.
    assert [record.order_id for record in machine.first_unrecorded(2)] == [order_id(n) for n in (3, 2, 1)]
    assert applied(machine, mark_recorded(4), start=7) == [Marked(2)]
    assert [record.order_id for record in machine.first_unrecorded(1)] == [order_id(4)]
    assert applied(machine, mark_recorded(3), start=8) == [Marked(2)]
    assert machine.record(order_id(1)) is not None, "what is recorded is still known"


def test_a_restored_machine_is_the_same_machine() -> None:
    machine = words.machine()
    applied(machine, enqueue(1, 1), enqueue(2, 7), enqueue(3, 7), rejection(4), complete(approved(1)), mark_recorded(4))
    copy = words.machine()
    applied(copy, enqueue(77, 99))
    copy.restore(machine.snapshot())
    assert copy.snapshot() == machine.snapshot()
    assert waiting(copy) == waiting(machine) == [order_id(2), order_id(3)]
    assert [copy.record(order_id(n)) for n in (1, 2, 3, 4, 77)] == [
        machine.record(order_id(n)) for n in (1, 2, 3, 4, 77)
    ]
    assert copy.first_unrecorded(9) == machine.first_unrecorded(9)
    assert applied(copy, enqueue(1), start=9) == applied(machine, enqueue(1), start=9)


def test_a_snapshot_of_the_first_version_is_read() -> None:
    machine, older = words.machine(), words.machine()
    older.apply(1, encode(words.enqueue(1)))
    state = msgspec.msgpack.decode(older.snapshot()[1:])
    del state["forgotten"]
    machine.restore(msgspec.msgpack.encode(state | {"version": 1}))
    assert machine.snapshot() == older.snapshot()


def test_a_forgotten_order_does_not_run_again() -> None:
    machine = words.machine()
    machine.apply(1, encode(words.enqueue(1)))
    machine.apply(2, encode(words.complete(words.approved(1))))
    machine.apply(3, encode(words.mark_recorded(2)))
    assert machine.apply(4, encode(words.forget(2))) == Forgot(1)
    assert machine.apply(5, encode(words.enqueue(1))) == InArchive()
    assert machine.apply(6, encode(words.rejection(1))) == InArchive()
    assert (machine.pending_count, machine.ended_count) == (0, 1)


def test_nothing_is_forgotten_that_postgresql_may_not_have() -> None:
    machine = words.machine()
    for number in (1, 2):
        machine.apply(number, encode(words.enqueue(number)))
        machine.apply(10 + number, encode(words.complete(words.approved(number))))
    machine.apply(20, encode(words.mark_recorded(11)))
    assert machine.apply(21, encode(words.forget(99))) == Forgot(1)
    assert machine.is_forgotten(words.order_id(1))
    assert machine.record(words.order_id(2)) is not None
