"""The laws of vector clocks, over generated clocks and generated histories."""

import pytest
from hypothesis import given, strategies as st

from utils.clocks.vector_clock import VectorClock

PROCESSES = ("transaction_verification", "fraud_detection", "suggestions")

clocks = st.dictionaries(st.sampled_from(PROCESSES), st.integers(0, 4)).map(VectorClock)
processes = st.sampled_from(PROCESSES)


@given(clocks)
def test_processes_that_counted_nothing_make_no_difference(clock: VectorClock) -> None:
    padded = VectorClock({**dict.fromkeys(PROCESSES, 0), **clock.entries})
    assert padded == clock
    assert hash(padded) == hash(clock)
    assert padded <= clock
    assert not padded.happened_before(clock)
    assert not padded.concurrent_with(clock)


@given(clocks, clocks)
def test_exactly_one_of_four_relations_holds(x: VectorClock, y: VectorClock) -> None:
    assert [x == y, x.happened_before(y), y.happened_before(x), x.concurrent_with(y)].count(True) == 1


@given(clocks, clocks, clocks)
def test_order_is_partial(x: VectorClock, y: VectorClock, z: VectorClock) -> None:
    assert x <= VectorClock(x.entries)
    assert not (x <= y <= x) or x == y
    assert not (x <= y <= z) or x <= z


@given(clocks, clocks, clocks)
def test_merge_is_the_least_upper_bound(x: VectorClock, y: VectorClock, z: VectorClock) -> None:
    merged = x.merge(y)
    assert x <= merged
    assert y <= merged
    assert not (x <= z and y <= z) or merged <= z


@given(clocks, clocks, clocks)
def test_merge_forgets_order_grouping_and_repetition(x: VectorClock, y: VectorClock, z: VectorClock) -> None:
    assert x.merge(y) == y.merge(x)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))
    assert x.merge(y).merge(y) == x.merge(y)


@given(clocks, processes)
def test_tick_counts_one_event_of_one_process(clock: VectorClock, process: str) -> None:
    before = clock.entries
    ticked = clock.tick(process)
    assert clock.happened_before(ticked)
    assert ticked.entries == {**before, process: before.get(process, 0) + 1}
    assert clock.entries == before


@given(clocks)
def test_the_empty_clock_lies_below_every_clock_and_adds_nothing(clock: VectorClock) -> None:
    assert VectorClock() <= clock
    assert clock.merge(VectorClock()) == clock == VectorClock().merge(clock)


@given(clocks, clocks, clocks)
def test_happened_before_is_a_strict_order(x: VectorClock, y: VectorClock, z: VectorClock) -> None:
    assert not x.happened_before(x)
    assert not (x.happened_before(y) and y.happened_before(x))
    assert not (x.happened_before(y) and y.happened_before(z)) or x.happened_before(z)
    assert x.concurrent_with(y) == y.concurrent_with(x)


@given(clocks, clocks, clocks)
def test_merge_keeps_the_order(x: VectorClock, y: VectorClock, z: VectorClock) -> None:
    assert not x <= y or x.merge(z) <= y.merge(z)


@given(clocks, clocks)
def test_events_of_two_processes_that_know_nothing_of_each_other_are_concurrent(x: VectorClock, y: VectorClock) -> None:
    common = x.merge(y)
    one, other = common.tick(PROCESSES[0]), common.tick(PROCESSES[1])
    assert one.concurrent_with(other)
    assert one.tick(PROCESSES[1]) == other.tick(PROCESSES[0]) == one.merge(other)


@given(st.lists(st.tuples(processes, st.none() | st.integers(0, 30)), max_size=30))
def test_clocks_order_events_exactly_as_their_causes_do(history: list[tuple[str, int | None]]) -> None:
    """Each event ticks its process, after receiving from an earlier event or from nobody."""
    now = dict.fromkeys(PROCESSES, VectorClock())
    past: dict[str, set[int]] = {process: set() for process in PROCESSES}
    events: list[tuple[VectorClock, set[int]]] = []
    for number, (process, source) in enumerate(history):
        if source is not None and source < number:
            clock, causes = events[source]
            now[process] = now[process].merge(clock)
            past[process] = past[process] | causes
        now[process] = now[process].tick(process)
        past[process] = past[process] | {number}
        events.append((now[process], past[process]))
    for x, (x_clock, _) in enumerate(events):
        for y, (y_clock, y_causes) in enumerate(events):
            assert x_clock.happened_before(y_clock) == (x != y and x in y_causes)


def test_entries_cannot_be_changed_from_outside() -> None:
    given_entries = {"a": 1}
    clock = VectorClock(given_entries)
    given_entries["a"] = 5
    clock.entries["a"] = 6
    assert clock["a"] == 1


def test_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="counts from zero"):
        VectorClock({"a": -1})
