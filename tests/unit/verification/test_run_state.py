"""The rules of the causal protocol: one by one, and under every kind of delivery."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from utils.clocks.vector_clock import VectorClock
from utils.verification.events import (
    CAUSAL_ORDER,
    FRAUD_DETECTION as FD,
    OWNER,
    PREREQUISITE,
    SERVICES,
    SUGGESTIONS as SG,
    TRANSACTION_VERIFICATION as TV,
    Event,
    events_of,
)
from utils.verification.run_state import ImpossibleNotificationError, RunState

Notice = tuple[str, tuple[Event, ...], VectorClock]


def test_the_causal_order_is_that_of_the_design() -> None:
    assert "".join(CAUSAL_ORDER) == "ABDCEF"
    assert {service: "".join(events_of(service)) for service in SERVICES} == {TV: "ABC", FD: "DE", SG: "F"}


@given(st.data())
def test_any_delivery_orders_the_events_causally(data: st.DataObject) -> None:
    """Notifications are lost, doubled, late and overtaken; what happens at all happens in the one order."""
    states = {service: RunState(service) for service in SERVICES}
    flying: list[Notice] = []
    happened: list[tuple[Event, VectorClock]] = []
    for _ in range(data.draw(st.integers(0, 40))):
        ready = [e for e in CAUSAL_ORDER if not states[OWNER[e]].knows(e) and states[OWNER[e]].knows(PREREQUISITE[e])]
        if ready and (not flying or data.draw(st.booleans())):
            event = data.draw(st.sampled_from(ready))
            state = states[OWNER[event]]
            state.happen(event)
            happened.append((event, state.clock))
            flying.append((OWNER[event], state.own_events, state.clock))
        elif flying:
            sender, events, clock = data.draw(st.sampled_from(flying))
            receiver = states[data.draw(st.sampled_from([service for service in SERVICES if service != sender]))]
            before = receiver.clock
            receiver.hear(sender, events, clock)
            assert receiver.clock == before.merge(clock)
            assert receiver.clock[receiver._service] == len(receiver.own_events), "receiving does not tick"
    assert tuple(event for event, _ in happened) == CAUSAL_ORDER[: len(happened)]
    for (_, earlier), (_, later) in pairwise(happened):
        assert earlier.happened_before(later)


def test_every_step_delivered_completes_the_run() -> None:
    states = {service: RunState(service) for service in SERVICES}
    for event in CAUSAL_ORDER:
        state = states[OWNER[event]]
        state.happen(event)
        for peer in SERVICES:
            if peer != OWNER[event]:
                states[peer].hear(OWNER[event], state.own_events, state.clock)
    final = VectorClock({TV: 3, FD: 2, SG: 1})
    assert all(state.clock == final for state in states.values())


def test_a_later_notification_makes_up_for_a_lost_one() -> None:
    state = RunState(FD)
    state.hear(TV, (Event.A, Event.B), VectorClock({TV: 2}))
    assert state.knows(Event.A)
    state.hear(TV, (Event.A,), VectorClock({TV: 1}))
    assert state.knows(Event.B)
    assert state.clock == VectorClock({TV: 2})


def test_an_event_does_not_happen_before_its_prerequisite() -> None:
    with pytest.raises(AssertionError, match="D before B"):
        RunState(FD).happen(Event.D)


def test_an_event_happens_once() -> None:
    state = RunState(TV)
    state.happen(Event.A)
    with pytest.raises(AssertionError, match="A twice"):
        state.happen(Event.A)


def test_an_event_happens_in_its_own_service() -> None:
    with pytest.raises(AssertionError, match="A is not an event of suggestions"):
        RunState(SG).happen(Event.A)


def test_nothing_happens_after_a_stop_and_its_first_cause_stays() -> None:
    state = RunState(TV)
    assert state.stop("card_expired")
    assert not state.stop("other")
    assert state.stop_cause == "card_expired"
    with pytest.raises(AssertionError, match="stopped"):
        state.happen(Event.A)


@pytest.mark.parametrize(
    ("sender", "events", "clock"),
    [
        pytest.param("payment", (), {}, id="a stranger"),
        pytest.param(FD, (Event.D,), {FD: 1}, id="itself"),
        pytest.param(TV, (Event.F,), {TV: 1}, id="an event of somebody else"),
        pytest.param(TV, (Event.B,), {TV: 2}, id="a gap"),
        pytest.param(TV, (Event.B, Event.A), {TV: 2}, id="out of order"),
        pytest.param(TV, (Event.A, Event.B), {TV: 1}, id="a clock that counts too little"),
        pytest.param(TV, (Event.A,), {TV: 1, FD: 1}, id="a clock that counts what never happened here"),
    ],
)
def test_impossible_notifications_change_nothing(sender: str, events: tuple[Event, ...], clock: dict[str, int]) -> None:
    state = RunState(FD)
    with pytest.raises(ImpossibleNotificationError):
        state.hear(sender, events, VectorClock(clock))
    assert state.clock == VectorClock()
    assert not any(state.knows(event) for event in Event)
