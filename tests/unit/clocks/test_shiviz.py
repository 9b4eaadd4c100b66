"""Whatever was recorded of a story, ShiViz takes its log, which says the same of what happened before what."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from tests.support.shiviz import parse
from utils.clocks.shiviz import in_causal_order, shiviz_log
from utils.clocks.story import Event
from utils.clocks.vector_clock import VectorClock

HOSTS = ("queue", "executor", "database")


@dataclass
class World:
    """Hosts that hear of each other and have events; some events are recorded nowhere, and some counts are skipped."""

    clocks: dict[str, VectorClock] = field(default_factory=lambda: dict.fromkeys(HOSTS, VectorClock()))
    recorded: list[Event] = field(default_factory=list)

    def happen(self, host: str, *, skipping: int, is_recorded: bool) -> None:
        clock = self.clocks[host].merge(VectorClock({host: self.clocks[host][host] + skipping})).tick(host)
        self.clocks[host] = clock
        if is_recorded:
            self.recorded.append(Event(host, f"event {len(self.recorded)}", clock))

    def hear(self, host: str, sender: str) -> None:
        self.clocks[host] = self.clocks[host].merge(self.clocks[sender])


hosts = st.sampled_from(HOSTS)
happenings = st.tuples(st.just("happen"), hosts, st.sampled_from([0, 0, 0, 1 << 20]), st.booleans())
hearings = st.tuples(st.just("hear"), hosts, hosts)


def history(steps: list[tuple[str, ...]]) -> list[Event]:
    world = World()
    for step in steps:
        match step:
            case ("happen", host, skipping, is_recorded):
                world.happen(host, skipping=int(skipping), is_recorded=bool(is_recorded))
            case ("hear", host, sender):
                world.hear(host, sender)
    return world.recorded


@settings(deadline=None)
@given(st.lists(st.one_of(happenings, hearings), max_size=25), st.randoms())
def test_the_log_keeps_to_the_rules_and_says_what_the_clocks_said(steps: list[tuple[str, ...]], chance: Random) -> None:
    recorded = history(steps)
    chance.shuffle(shuffled := [*recorded, *recorded[:3]])
    logged = {event.text: event for event in parse(shiviz_log(shuffled, lambda event: event.name))}
    assert logged.keys() == {event.name for event in recorded}
    for one in recorded:
        for other in recorded:
            before = one.clock.happened_before(other.clock)
            assert logged[one.name].happened_before(logged[other.name]) == before


def test_events_stand_after_all_that_happened_before_them() -> None:
    first = Event("queue", "enqueued", VectorClock({"queue": 1}))
    second = Event("executor", "prepare", VectorClock({"queue": 1, "executor": 7_340_033}))
    third = Event("queue", "completed", VectorClock({"queue": 3, "executor": 7_340_033}))
    ordered = in_causal_order([third, second, first])
    assert [event.name for event in ordered] == ["enqueued", "prepare", "completed"]
    assert [event.clock.entries for event in ordered] == [
        {"queue": 1},
        {"queue": 1, "executor": 1},
        {"queue": 2, "executor": 1},
    ]


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ('one\na {"a": 2}\n', "counts"),
        ('one\na {"a": 1, "b": 1}\n', "without events"),
        ('one\na {"a": 1}\nthree\na {"a": 3}\n', "counts"),
        ('two\nb {"a": 1, "b": 1}\none\na {"a": 1}\n', "too early"),
        ('one\na {"a": 1}\n\nstray\n', "no event"),
    ],
)
def test_the_rules_find_what_shiviz_would_not_take(log: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        parse(log)
