"""A follower whose disk was lost starts empty under a leader that knows better: it must get everything again.

And an answer that is merely late must not be taken for that: what a follower has acknowledged counts.
"""

from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS, Bench, configuration_entry, entries_of
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    RequestVoteRequest,
    RequestVoteResponse,
)
from utils.raft.core.ready import HardState, PeerForgot


def leader() -> Bench:
    """Leads in term 1; all have its 5 entries."""
    bench = Bench(limits=Limits(entries_per_message=2))
    bench.lead_ready()
    bench.commit_commands(4)
    return bench


def heartbeat(bench: Bench) -> AppendEntriesRequest:
    """The next one to "c"."""
    bench.tick(HEARTBEAT_TICKS)
    return bench.sent_to("c", AppendEntriesRequest)[-1]


def refuse(bench: Bench, request: AppendEntriesRequest) -> bool:
    """ "c" has nothing. Whether the leader takes it for one that has forgotten."""
    answer = AppendEntriesResponse(
        bench.core.current_term,
        success=False,
        conflict_index=1,
        rejected_index=request.prev_log_index,
        probe_id=request.probe_id,
    )
    bench.receive("c", answer)
    return PeerForgot("c") in bench.events


def test_a_follower_that_lost_its_disk_gets_everything_again() -> None:
    bench = leader()
    assert refuse(bench, heartbeat(bench))
    [probe] = bench.sent_to("c", AppendEntriesRequest)
    assert (probe.prev_log_index, probe.entries) == (0, ())
    bench.accept("c", 0)
    sent = bench.sent_to("c", AppendEntriesRequest)
    assert [entry.index for request in sent for entry in request.entries] == [1, 2, 3, 4, 5]


def test_what_it_had_acknowledged_before_does_not_count_any_more() -> None:
    bench = leader()
    bench.core.propose([b"x"])
    bench.drain()
    bench.is_disk_slow = True
    assert refuse(bench, heartbeat(bench)) is False
    [probe] = bench.sent_to("c", AppendEntriesRequest)
    assert refuse(bench, probe)
    bench.accept("c", 0)
    bench.accept("c", 5)
    assert bench.core.commit_index == 5


def test_it_may_need_a_snapshot() -> None:
    bench = leader()
    bench.core.compact(4)
    bench.drain()
    assert refuse(bench, heartbeat(bench))
    assert bench.needs_snapshot


def test_a_node_that_joins_with_an_empty_disk_gives_no_vote_before_it_has_a_configuration() -> None:
    """It may have been a voter, have voted in this very term, and have forgotten it."""
    bench = Bench(voters=())
    answer = bench.answer_to("c", RequestVoteRequest(7, 9, 6), RequestVoteResponse)
    assert answer == RequestVoteResponse(7, granted=False)
    assert bench.hard_state.voted_for is None


def test_nor_to_anybody_but_the_leader_in_the_term_of_a_leader_that_it_has_heard() -> None:
    """That leader was elected before it came back, perhaps against somebody whose question is still on the way."""
    bench = Bench(voters=())
    bench.append(term=7, entries=(configuration_entry(1, 7, "bcd", "a"),))
    assert bench.hard_state == HardState(7, "b")
    bench.tick(ELECTION_TICKS)
    answer = bench.answer_to("c", RequestVoteRequest(7, 9, 6), RequestVoteResponse)
    assert answer == RequestVoteResponse(7, granted=False)


def test_a_late_refusal_is_not_taken_for_a_lost_disk() -> None:
    bench = leader()
    first, second = heartbeat(bench), heartbeat(bench)
    assert first.probe_id < second.probe_id
    assert not refuse(bench, first)


def test_a_refusal_of_what_was_not_proven_when_it_was_asked_is_not_taken_for_a_lost_disk() -> None:
    bench = Bench(term=1, log=entries_of(1))
    bench.campaign_and_win()
    question = heartbeat(bench)
    assert question.prev_log_index == 1
    bench.accept("c", 2)
    assert not refuse(bench, question)


def test_a_refusal_of_entries_is_not_taken_for_a_lost_disk() -> None:
    bench = leader()
    bench.core.propose([b"x"])
    bench.drain()
    [request] = bench.sent_to("c", AppendEntriesRequest)
    assert request.probe_id == 0
    assert not refuse(bench, request)


def test_a_follower_answers_with_the_id_of_what_it_was_asked() -> None:
    bench = Bench(term=1)
    request = AppendEntriesRequest(1, 0, 0, (), 0, probe_id=7)
    assert bench.answer_to("b", request, AppendEntriesResponse).probe_id == 7
    request = AppendEntriesRequest(1, 3, 1, (), 0, probe_id=8)
    assert bench.answer_to("b", request, AppendEntriesResponse).probe_id == 8
