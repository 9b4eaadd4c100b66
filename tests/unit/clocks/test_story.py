"""An order's story: events that tick, packed small, and bounded."""

from hypothesis import given, strategies as st

from utils.clocks.story import Event, Story, last_clock, pack, pack_clock, tell, unpack, unpack_clock
from utils.clocks.vector_clock import VectorClock

HOSTS = ("orchestrator", "order_queue", "order_executor", "database", "payment", "orchestrator_2")

hosts = st.sampled_from(HOSTS)
clocks = st.dictionaries(hosts, st.integers(0, 2**63 - 1)).map(VectorClock)
events = st.builds(Event, hosts, st.text(min_size=1), clocks, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))


@given(events)
def test_an_event_is_the_same_after_packing(event: Event) -> None:
    assert unpack(pack(event)) == event


@given(clocks)
def test_a_clock_is_the_same_after_packing_and_nothing_packs_to_nothing(clock: VectorClock) -> None:
    assert unpack_clock(pack_clock(clock)) == clock
    assert (pack_clock(clock) == b"") == (clock == VectorClock())


def test_an_event_of_a_usual_order_takes_some_forty_bytes() -> None:
    clock = VectorClock({**dict.fromkeys(HOSTS[:5], 2), "order_executor": (1 << 20) + 2})
    assert len(pack(Event("database", "committed", clock, epoch=1, number=1))) < 40


@given(st.lists(clocks, max_size=5), clocks)
def test_an_event_knows_all_that_was_heard_before_it_and_itself(heard: list[VectorClock], last: VectorClock) -> None:
    story: Story = ()
    for clock in heard:
        story = tell(story, "host", "event", clock)
    before = last_clock(story)
    after = last_clock(tell(story, "host", "event", last))
    assert after == before.merge(last).tick("host")
    assert after["host"] == len(heard) + 1
