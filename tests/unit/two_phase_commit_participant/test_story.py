"""A participant's events: one for each change of what it remembers of an order, whatever comes twice or late."""

import msgspec
from hypothesis import given, settings, strategies as st

from tests.unit.two_phase_commit_participant.fake_business import BUSY, NO, YES, FakeBusiness
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit
from utils.clocks.story import EVENTS_MAX, Event, last_clock, pack_clock, unpack, unpack_clock
from utils.clocks.vector_clock import VectorClock
from utils.two_phase_commit.messages import Attempt, Decision
from utils.two_phase_commit.participant import Participant

ASKED = pack_clock(VectorClock({"order_executor": 1}))
DECIDED = pack_clock(VectorClock({"order_executor": 2, "payment": 1}))


def story(node: Participant[str]) -> list[Event]:
    return [unpack(event) for event in node.records[attempt().order_id].story]


def decide(node: Participant[str], decision: Decision, clock: bytes = DECIDED) -> VectorClock:
    acknowledgement = node.decide(msgspec.structs.replace(decision, clock=clock))
    record = node.records.get(decision.attempt.order_id)
    assert acknowledgement.story == (record.story if record else ())
    return last_clock(acknowledgement.story)


def test_a_vote_and_a_commit_are_events_that_know_why() -> None:
    node = Participant[str](FakeBusiness(), host="database")
    vote = node.prepare(attempt(), 10, "work", ASKED)
    assert unpack_clock(vote.clock) == VectorClock({"order_executor": 1, "database": 1})
    told = decide(node, commit(attempt()))
    assert told == VectorClock({"order_executor": 2, "payment": 1, "database": 2})
    assert [(event.name, event.epoch, event.number) for event in story(node)] == [
        ("prepared", 1, 1),
        ("committed", 1, 1),
    ]
    assert story(node)[-1].clock == told


def test_what_comes_twice_ticks_once_and_finds_the_same_clock() -> None:
    node = Participant[str](FakeBusiness(), host="database")
    votes = [node.prepare(attempt(), 10, "work", ASKED) for _ in range(3)]
    assert votes[0] == votes[1] == votes[2]
    assert decide(node, commit(attempt())) == decide(node, commit(attempt()))
    late = node.prepare(attempt(), 10, "work", ASKED)
    assert unpack_clock(late.clock) == story(node)[-1].clock
    assert len(story(node)) == 2


def test_an_attempt_that_is_given_up_stays_in_the_story() -> None:
    business = FakeBusiness()
    node = Participant[str](business, host="database")
    business.verdict = BUSY
    node.prepare(attempt(1), 10, "work", ASKED)
    decide(node, abort(attempt(1)), ASKED)
    business.verdict = YES
    node.prepare(attempt(2), 10, "work", ASKED)
    assert [(event.name, event.number) for event in story(node)] == [("busy", 1), ("aborted", 1), ("prepared", 2)]


def test_an_order_without_a_clock_has_no_story() -> None:
    node = Participant[str](FakeBusiness(), host="database")
    assert node.prepare(attempt(), 10, "work").clock == b""
    assert node.decide(commit(attempt())).story == ()
    assert story(node) == []


def test_an_order_that_is_tried_for_hours_keeps_its_latest_events_and_counts_on() -> None:
    business = FakeBusiness()
    node = Participant[str](business, host="database")
    business.verdict = BUSY
    for number in range(1, EVENTS_MAX + 10):
        node.prepare(attempt(number), 10, "work", ASKED)
    assert [event.number for event in story(node)] == list(range(10, EVENTS_MAX + 10))
    assert [event.clock["database"] for event in story(node)] == list(range(10, EVENTS_MAX + 10))


attempts = st.builds(attempt, st.integers(1, 2), epoch=st.integers(1, 2))
messages = st.tuples(st.sampled_from(["prepare", "commit", "abort"]), attempts, st.sampled_from([YES, YES, NO, BUSY]))


@settings(deadline=None)
@given(st.lists(messages, max_size=15))
def test_the_clock_counts_the_changes_and_nothing_else(history: list[tuple[str, Attempt, object]]) -> None:
    business = FakeBusiness()
    node = Participant[str](business, host="database")
    changes = 0
    for what, of, verdict in history:
        before = node.records.get(of.order_id)
        if what == "prepare":
            business.verdict = next(known for known in (YES, NO, BUSY) if known is verdict)
            node.prepare(of, 10, "work", ASKED)
        else:
            decide(node, commit(of) if what == "commit" else abort(of))
        after = node.records.get(of.order_id)
        changes += (before and (before.attempt, before.phase)) != (after and (after.attempt, after.phase))
        if after is not None:
            assert last_clock(after.story)["database"] == changes == len(after.story)
