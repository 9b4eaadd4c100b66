"""Handing leadership over: section 3.10 of the dissertation."""

import pytest

from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS, Bench, entries_of
from utils.raft.core.messages import (
    AppendEntriesRequest,
    Message,
    RequestVoteRequest,
    RequestVoteResponse,
    TimeoutNowRequest,
)
from utils.raft.core.ready import HardState, Role, TransferGivenUp
from utils.raft.errors import NotLeaderError, TransferFailedError


def leader() -> Bench:
    bench = Bench()
    bench.lead_ready()
    return bench


def test_a_target_that_has_the_whole_log_is_told_at_once_3_10() -> None:
    bench = leader()
    assert bench.core.transfer_leadership("c") == "c"
    bench.drain()
    assert bench.sent == [Message("a", "c", TimeoutNowRequest(1))]


def test_a_target_that_lags_is_brought_up_to_date_first_3_10() -> None:
    bench = leader()
    bench.core.propose([b"x"])
    bench.core.transfer_leadership("b")
    bench.drain()
    assert bench.sent_to("b", AppendEntriesRequest) != []
    assert bench.sent_to("b", TimeoutNowRequest) == []
    bench.accept("c", 2)
    assert bench.sent_to("b", TimeoutNowRequest) == []
    bench.accept("b", 2)
    assert bench.sent_to("b", TimeoutNowRequest) == [TimeoutNowRequest(1)]


def test_without_a_target_it_goes_to_whoever_is_most_caught_up_3_10() -> None:
    bench = leader()
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("c", 2)
    assert bench.core.transfer_leadership() == "c"


def test_without_a_target_it_goes_to_nobody_who_is_away() -> None:
    bench = leader()
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("c", 2)
    for _ in range(3):
        bench.tick(ELECTION_TICKS)
        bench.accept("b", 1)
    assert bench.core.transfer_leadership() == "b"


def test_no_proposal_is_taken_meanwhile_3_10() -> None:
    bench = leader()
    bench.core.transfer_leadership("b")
    assert not bench.is_ready()
    with pytest.raises(NotLeaderError) as refused:
        bench.core.propose([b"x"])
    # Nobody is the leader to go to yet.
    assert refused.value.leader_id is None
    assert bench.core.last_index == 1


def test_reads_are_confirmed_meanwhile_6_4() -> None:
    bench = leader()
    bench.core.transfer_leadership("b")
    bench.core.request_read()
    bench.drain()
    bench.accept("b", 1, read_id=1)
    assert bench.confirmed_reads == [(1, 1)]


def test_what_the_target_was_told_is_repeated_with_the_heartbeats() -> None:
    bench = leader()
    bench.core.transfer_leadership("b")
    bench.tick(2 * HEARTBEAT_TICKS)
    assert len(bench.sent_to("b", TimeoutNowRequest)) == 3


def test_a_transfer_is_given_up_after_the_longest_election_timeout_3_10() -> None:
    bench = leader()
    bench.core.transfer_leadership("b")
    bench.drain()
    for _ in range(2 * ELECTION_TICKS - 1):
        bench.tick()
        bench.accept("c", 1)
    assert not bench.is_ready()
    bench.core.tick()
    [ready] = bench.drain()
    assert ready.events == (TransferGivenUp("b"),)
    assert bench.is_ready()
    assert bench.core.propose([b"x"]) == range(2, 3)


def test_another_target_takes_the_place_of_the_first() -> None:
    bench = leader()
    bench.core.transfer_leadership("b")
    bench.core.transfer_leadership("c")
    bench.drain()
    assert [message.recipient for message in bench.sent] == ["c"]


@pytest.mark.parametrize("target", ["a", "stranger"])
def test_only_another_voter_can_take_over(target: str) -> None:
    bench = leader()
    with pytest.raises(TransferFailedError, match=f"{target} is not one of the other voters"):
        bench.core.transfer_leadership(target)
    assert bench.is_ready()


def test_a_cluster_of_one_has_nobody_to_hand_over_to() -> None:
    bench = Bench(voters=("a",))
    bench.tick(ELECTION_TICKS)
    with pytest.raises(TransferFailedError, match="no other voter answers"):
        bench.core.transfer_leadership()


def test_only_the_leader_hands_over() -> None:
    bench = Bench(term=1)
    bench.follow("b")
    with pytest.raises(NotLeaderError) as refused:
        bench.core.transfer_leadership("c")
    assert refused.value.leader_id == "b"


def test_the_target_starts_an_election_at_once_without_asking_first_3_10() -> None:
    bench = Bench(term=1, log=entries_of(1))
    bench.follow("b", term=2)
    sent = bench.receive("b", TimeoutNowRequest(2))
    assert (bench.role(), bench.hard_state) == (Role.CANDIDATE, HardState(3, "a"))
    request = RequestVoteRequest(3, 1, 1, leadership_transfer=True)
    assert sent == [Message("a", voter, request) for voter in ("b", "c")]
    bench.receive("c", RequestVoteResponse(3, granted=True))
    assert bench.role() is Role.LEADER


def test_a_leader_gives_way_to_whom_it_has_told_3_10() -> None:
    bench = leader()
    bench.core.transfer_leadership("b")
    answer = bench.answer_to("b", RequestVoteRequest(2, 1, 1, leadership_transfer=True), RequestVoteResponse)
    assert answer == RequestVoteResponse(2, granted=True)
    assert bench.role() is Role.FOLLOWER


def test_a_follower_that_hears_its_leader_votes_in_a_transfer_3_10() -> None:
    bench = Bench(term=1)
    bench.follow("b")
    assert bench.receive("c", RequestVoteRequest(2, 0, 0)) == []
    answer = bench.answer_to("c", RequestVoteRequest(2, 0, 0, leadership_transfer=True), RequestVoteResponse)
    assert answer.granted


def test_a_transfer_wins_no_vote_for_a_shorter_log_5_4_1() -> None:
    bench = Bench(term=1, log=entries_of(1, 1))
    answer = bench.answer_to("c", RequestVoteRequest(2, 1, 1, leadership_transfer=True), RequestVoteResponse)
    assert not answer.granted


@pytest.mark.parametrize(("sender", "term"), [("c", 2), ("b", 1)])
def test_only_the_leader_of_the_term_can_ask_to_take_over(sender: str, term: int) -> None:
    bench = Bench(term=1)
    bench.follow("b", term=2)
    assert bench.receive(sender, TimeoutNowRequest(term)) == []
    assert (bench.role(), bench.core.current_term) == (Role.FOLLOWER, 2)
