"""Histories whose judgement is known."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.linearizability.checker import Model, UndecidedError, check
from tests.linearizability.history import UNKNOWN, History, Operation
from tests.linearizability.models import (
    Complete,
    Dequeue,
    Enqueue,
    GetOrder,
    QueueModel,
    Read,
    RegisterModel,
    Write,
    WriteAt,
    without_unread_values,
)


def history(*lines: tuple[int, int | None, Any, Any]) -> list[Operation]:
    """(called at, returned at, call, result)."""
    return [
        Operation(f"client {number}", call, called_at, returned_at, result)
        for number, (called_at, returned_at, call, result) in enumerate(lines)
    ]


def is_linearizable(*lines: tuple[int, int | None, Any, Any], model: Model | None = None) -> bool:
    return check(model or RegisterModel(), history(*lines)) is None


def test_one_client_after_the_other_is_linearizable() -> None:
    assert is_linearizable((0, 1, Write("a"), 1), (2, 3, Read(), ("a", 1)), (4, 5, WriteAt("b", 1), 2))


def test_a_read_of_what_was_overwritten_before_it_began_is_not() -> None:
    assert not is_linearizable((0, 1, Write("a"), 1), (2, 3, Write("b"), 2), (4, 5, Read(), ("a", 1)))


def test_a_read_beside_a_write_may_see_it_or_not() -> None:
    for seen in ((None, 0), ("a", 1)):
        assert is_linearizable((0, 3, Write("a"), 1), (1, 2, Read(), seen))


def test_two_reads_that_see_a_write_and_then_do_not_are_not() -> None:
    write = (0, 9, Write("a"), 1)
    assert is_linearizable(write, (1, 2, Read(), (None, 0)), (3, 4, Read(), ("a", 1)))
    assert not is_linearizable(write, (1, 2, Read(), ("a", 1)), (3, 4, Read(), (None, 0)))


def test_a_lost_write_is_found() -> None:
    assert not is_linearizable((0, 1, Write("a"), 1), (2, 3, Read(), (None, 0)))


def test_two_writes_with_one_version_are_found() -> None:
    assert not is_linearizable((0, 3, Write("a"), 1), (1, 2, Write("b"), 1))


def test_a_conditional_write_succeeds_only_at_its_version() -> None:
    assert is_linearizable((0, 1, Write("a"), 1), (2, 3, WriteAt("b", 0), None))
    assert not is_linearizable((0, 1, Write("a"), 1), (2, 3, WriteAt("b", 0), 1))
    assert not is_linearizable((0, 1, Write("a"), 1), (2, 3, WriteAt("b", 1), None))


def test_a_write_that_nobody_answered_may_take_effect_late_or_never() -> None:
    unanswered = (0, None, Write("a"), UNKNOWN)
    assert is_linearizable(unanswered, (1, 2, Read(), (None, 0)))
    assert is_linearizable(unanswered, (1, 2, Read(), (None, 0)), (3, 4, Read(), ("a", 1)))
    assert not is_linearizable(
        unanswered, (1, 2, Read(), (None, 0)), (3, 4, Read(), ("a", 1)), (5, 6, Read(), (None, 0))
    )
    assert not is_linearizable((3, None, Write("a"), UNKNOWN), (1, 2, Read(), ("a", 1)))


def test_a_violation_says_how_far_the_history_could_be_explained() -> None:
    violation = check(RegisterModel(), history((0, 1, Write("a"), 1), (2, 3, Read(), ("b", 1))))
    assert violation is not None
    assert (violation.explained, violation.state) == (1, ("a", 1))
    assert [operation.call for operation in violation.stuck] == [Read()]
    assert "Read()" in str(violation)


def test_a_search_that_takes_too_long_is_no_judgement() -> None:
    with pytest.raises(UndecidedError):
        check(RegisterModel(), history((0, 1, Write("a"), 1), (2, 3, Read(), ("b", 1))), steps_max=2)


def test_many_unanswered_writes_do_not_make_the_search_explode() -> None:
    recorded = History()
    for number in range(60):
        recorded.unanswered(f"lost {number}", Write("lost"), recorded.call())
    for version in range(1, 301):
        recorded.answered("writer", Write("x"), recorded.call(), version)
        recorded.answered("reader", Read(), recorded.call(), ("x", version))
    assert check(RegisterModel(), recorded.operations, steps_max=100_000) is None


def test_unanswered_writes_that_took_effect_unseen_do_not_make_the_search_explode() -> None:
    """Every second version is that of a write that nobody answered and nobody read; the last answer is wrong."""
    recorded = History()
    for number in range(40):
        recorded.unanswered(f"lost {number}", Write(f"lost {number}"), recorded.call())
    for version in range(2, 62, 2):
        recorded.answered("writer", Write("x"), recorded.call(), version)
        recorded.answered("reader", Read(), recorded.call(), ("x", version))
    operations = without_unread_values(recorded.operations)
    assert check(RegisterModel(), operations, steps_max=100_000) is None
    recorded.answered("reader", Read(), recorded.call(), ("x", 60 + 10 + 2))
    operations = without_unread_values(recorded.operations)
    assert check(RegisterModel(), operations, steps_max=100_000) is not None


def test_an_unanswered_write_keeps_its_value_if_somebody_read_it() -> None:
    lines = ((0, None, Write("a"), UNKNOWN), (1, None, WriteAt("b", 1), UNKNOWN), (2, 3, Read(), ("b", 2)))
    operations = without_unread_values(history(*lines))
    assert [operation.call for operation in operations] == [Write("not read"), WriteAt("b", 1), Read()]
    assert check(RegisterModel(), operations) is None


POSITIONS = {1: 10, 2: 20, 3: 30}
TWO_ORDERS = ((0, 1, Enqueue(1, 5), 10), (2, 3, Enqueue(2, 7), 20))


@pytest.mark.parametrize(
    ("answer", "legal"), [((2, 1), True), ((2,), False), ((1, 2), False), ((1,), False), ((), True)]
)
def test_the_queue_hands_out_the_larger_order_first(answer: tuple[int, ...], legal: bool) -> None:
    dequeue = (4, 5, Dequeue((), 2), answer)
    assert is_linearizable(*TWO_ORDERS, dequeue, model=QueueModel(POSITIONS)) is legal


def test_orders_of_one_size_leave_in_the_order_of_arrival() -> None:
    orders = ((0, 1, Enqueue(1, 5), 10), (2, 3, Enqueue(2, 5), 20))
    assert is_linearizable(*orders, (4, 5, Dequeue((), 1), (1,)), model=QueueModel(POSITIONS))
    assert not is_linearizable(*orders, (4, 5, Dequeue((), 1), (2,)), model=QueueModel(POSITIONS))


def test_an_order_that_ended_or_is_held_is_not_handed_out_again() -> None:
    ended = (*TWO_ORDERS, (4, 5, Complete(2), None))
    assert is_linearizable(*ended, (6, 7, Dequeue((), 2), (1,)), model=QueueModel(POSITIONS))
    assert not is_linearizable(*ended, (6, 7, Dequeue((), 2), (2, 1)), model=QueueModel(POSITIONS))
    assert not is_linearizable(*TWO_ORDERS, (6, 7, Dequeue((2,), 2), (2, 1)), model=QueueModel(POSITIONS))


def test_an_accepted_order_that_is_lost_is_found() -> None:
    assert not is_linearizable(*TWO_ORDERS, (4, 5, GetOrder(1), "unknown"), model=QueueModel(POSITIONS))
    assert is_linearizable(*TWO_ORDERS, (4, 5, GetOrder(1), "pending"), model=QueueModel(POSITIONS))
    assert not is_linearizable(*TWO_ORDERS, (4, 5, GetOrder(1), "ended"), model=QueueModel(POSITIONS))


def test_positions_that_do_not_grow_with_arrival_are_found() -> None:
    swapped = ((0, 1, Enqueue(2, 5), 20), (2, 3, Enqueue(1, 5), 10))
    assert not is_linearizable(*swapped, model=QueueModel(POSITIONS))


def test_an_enqueue_that_nobody_answered_counts_once_somebody_tells_of_it() -> None:
    lost = (0, None, Enqueue(3, 9), UNKNOWN)
    told = (4, 5, Dequeue((), 2), (3,))
    assert is_linearizable(lost, told, model=QueueModel({3: 30}))
    assert not is_linearizable(told, model=QueueModel({3: 30}))
    assert is_linearizable(lost, (1, 2, Enqueue(2, 7), 20), (4, 5, Dequeue((), 1), (2,)), model=QueueModel({2: 20}))


CALLS = st.one_of(
    st.tuples(st.just(Read()), st.sampled_from([(None, 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)])),
    st.tuples(st.sampled_from([Write("a"), Write("b")]), st.sampled_from([1, 2, UNKNOWN])),
    st.tuples(st.just(WriteAt("b", 1)), st.sampled_from([2, None, UNKNOWN])),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    count = draw(st.integers(1, 5))
    moments = draw(st.permutations(range(2 * count)))
    operations = []
    for number in range(count):
        call, result = draw(CALLS)
        called_at, returned_at = sorted(moments[2 * number : 2 * number + 2])
        operations.append(Operation(str(number), call, called_at, None if result is UNKNOWN else returned_at, result))
    return operations


def by_trying_every_order(operations: Sequence[Operation]) -> bool:
    answered = [operation for operation in operations if operation.returned_at is not None]
    unanswered = [operation for operation in operations if operation.returned_at is None]
    subsets = itertools.chain.from_iterable(
        itertools.combinations(unanswered, count) for count in range(len(unanswered) + 1)
    )
    return any(is_legal(order) for subset in subsets for order in itertools.permutations([*answered, *subset]))


def is_legal(order: Sequence[Operation]) -> bool:
    state: Any = RegisterModel.initial
    for place, operation in enumerate(order):
        if any(
            later.returned_at is not None and later.returned_at < operation.called_at for later in order[place + 1 :]
        ):
            return False
        state = RegisterModel().step(state, operation.call, operation.result)
        if state is None:
            return False
    return True


@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_judgement_is_that_of_trying_every_order(operations: list[Operation]) -> None:
    assert (check(RegisterModel(), operations) is None) == by_trying_every_order(operations)
