"""Leader election. Sections are those of the Raft paper (extended version); "D" marks the dissertation's."""

import pytest

from tests.unit.raft.core.support import ELECTION_TICKS, FIVE, HEARTBEAT_TICKS, Bench, entries_of
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
)
from utils.raft.core.ready import HardState, Role, RoleChanged


def test_a_node_starts_as_a_follower_5_2() -> None:
    bench = Bench(term=3)
    assert bench.role() is Role.FOLLOWER
    assert bench.core.leader_id is None


def test_a_follower_that_hears_nothing_for_an_election_timeout_asks_for_pre_votes_5_2_and_d_9_6() -> None:
    bench = Bench(term=3, log=entries_of(1, 3))
    assert bench.tick(ELECTION_TICKS - 1) == []
    bench.tick()
    assert bench.role() is Role.PRE_CANDIDATE
    assert bench.sent == [Message("a", voter, PreVoteRequest(4, 2, 3)) for voter in ("b", "c")]


def test_a_pre_candidate_changes_neither_term_nor_vote_d_9_6() -> None:
    bench = Bench(term=3, voted_for="b")
    bench.tick(5 * ELECTION_TICKS)
    assert bench.role() is Role.PRE_CANDIDATE
    assert bench.core.current_term == 3
    assert bench.hard_state == HardState(3, "b")


def test_a_candidate_increments_its_term_and_votes_for_itself_durably_before_it_asks_5_2() -> None:
    bench = Bench(term=3)
    bench.tick(ELECTION_TICKS)
    bench.core.step(Message("b", "a", PreVoteResponse(4, granted=True)))
    [ready] = bench.drain()
    assert bench.role() is Role.CANDIDATE
    assert ready.hard_state == HardState(4, "a")
    assert ready.early_messages == ()
    assert ready.messages == tuple(Message("a", voter, RequestVoteRequest(4, 0, 0)) for voter in ("b", "c"))


def test_a_candidate_with_votes_of_a_majority_becomes_leader_5_2() -> None:
    bench = Bench(voters=FIVE)
    bench.campaign()
    bench.receive("b", RequestVoteResponse(1, granted=True))
    assert bench.role() is Role.CANDIDATE
    bench.receive("c", RequestVoteResponse(1, granted=True))
    assert bench.role() is Role.LEADER
    assert bench.core.leader_id == "a"


def test_the_same_vote_heard_twice_counts_once_5_2() -> None:
    bench = Bench(voters=FIVE)
    bench.campaign()
    bench.receive("b", RequestVoteResponse(1, granted=True))
    bench.receive("b", RequestVoteResponse(1, granted=True))
    assert bench.role() is Role.CANDIDATE


def test_refusals_do_not_count_5_2() -> None:
    bench = Bench()
    bench.campaign()
    bench.receive("b", RequestVoteResponse(1, granted=False))
    bench.receive("c", RequestVoteResponse(1, granted=False))
    assert bench.role() is Role.CANDIDATE


def test_votes_of_an_older_term_do_not_count_5_2() -> None:
    bench = Bench(term=4)
    bench.campaign()
    assert bench.core.current_term == 5
    bench.receive("b", RequestVoteResponse(4, granted=True))
    assert bench.role() is Role.CANDIDATE


def test_strangers_have_no_vote() -> None:
    bench = Bench()
    bench.campaign()
    bench.receive("z", RequestVoteResponse(1, granted=True))
    bench.core.step(Message("b", "c", RequestVoteResponse(1, granted=True)))
    bench.core.step(Message("a", "a", RequestVoteResponse(1, granted=True)))
    assert bench.role() is Role.CANDIDATE


def test_a_node_alone_in_its_cluster_elects_itself() -> None:
    bench = Bench(voters=("a",))
    bench.tick(ELECTION_TICKS)
    assert bench.role() is Role.LEADER
    assert bench.is_ready()


def test_a_leader_sends_empty_append_entries_at_once_and_at_every_heartbeat_5_2() -> None:
    bench = Bench()
    bench.campaign()
    bench.receive("b", RequestVoteResponse(1, granted=True))
    first = AppendEntriesRequest(1, 0, 0, (), 0, probe_id=1)
    assert bench.sent == [Message("a", "b", first), Message("a", "c", first)]
    assert bench.tick(HEARTBEAT_TICKS - 1) == []
    second = AppendEntriesRequest(1, 0, 0, (), 0, probe_id=2)
    assert bench.tick() == [Message("a", "b", second), Message("a", "c", second)]


def test_a_candidate_that_hears_the_leader_of_its_term_follows_it_5_2() -> None:
    bench = Bench()
    bench.campaign()
    bench.follow("c", term=1)
    assert bench.role() is Role.FOLLOWER
    assert bench.core.leader_id == "c"


def test_a_candidate_refuses_a_leader_of_an_older_term_and_stays_candidate_5_2() -> None:
    bench = Bench(term=4)
    bench.campaign()
    assert bench.append("c", term=4) == AppendEntriesResponse(5, success=False)
    assert bench.role() is Role.CANDIDATE


def test_a_candidate_whose_election_fails_starts_another_5_2() -> None:
    bench = Bench()
    bench.campaign()
    bench.tick(bench.timeout)
    assert bench.role() is Role.PRE_CANDIDATE
    bench.receive("c", PreVoteResponse(2, granted=True))
    assert bench.role() is Role.CANDIDATE
    assert bench.core.current_term == 2


def test_each_election_draws_a_new_timeout_from_a_fixed_interval_5_2() -> None:
    bench = Bench()
    bench.timeouts_drawn.clear()
    bench.timeout = 13
    bench.tick(ELECTION_TICKS)
    assert bench.timeouts_drawn == [(ELECTION_TICKS, 2 * ELECTION_TICKS)]
    bench.sent = []
    bench.tick(12)
    assert bench.sent == []
    assert bench.tick() != []


@pytest.mark.parametrize("term", [4, 9])
def test_a_node_votes_for_the_first_that_asks_in_a_term_and_for_no_other_5_2(term: int) -> None:
    bench = Bench(term=3)
    assert bench.answer_to("b", RequestVoteRequest(term, 0, 0), RequestVoteResponse).granted
    assert bench.hard_state == HardState(term, "b")
    assert not bench.answer_to("c", RequestVoteRequest(term, 7, 3), RequestVoteResponse).granted
    assert bench.answer_to("b", RequestVoteRequest(term, 0, 0), RequestVoteResponse).granted


def test_a_vote_outlives_a_restart_5_2() -> None:
    bench = Bench(term=4, voted_for="b")
    assert not bench.answer_to("c", RequestVoteRequest(4, 0, 0), RequestVoteResponse).granted


def test_a_failed_election_does_not_give_the_vote_back_5_2() -> None:
    bench = Bench()
    bench.campaign()
    bench.tick(bench.timeout)
    assert bench.core.current_term == 1
    assert not bench.answer_to("c", RequestVoteRequest(1, 0, 0), RequestVoteResponse).granted


def test_a_vote_leaves_only_after_it_is_durable_5_2() -> None:
    bench = Bench()
    bench.core.step(Message("b", "a", RequestVoteRequest(1, 0, 0)))
    [ready] = bench.drain()
    assert ready.hard_state == HardState(1, "b")
    assert ready.early_messages == ()
    assert ready.messages == (Message("a", "b", RequestVoteResponse(1, granted=True)),)


def test_a_request_of_an_older_term_is_refused_with_the_current_one_5_1() -> None:
    bench = Bench(term=5)
    assert bench.answer_to("b", RequestVoteRequest(4, 9, 4), RequestVoteResponse) == RequestVoteResponse(
        5, granted=False
    )


def test_a_node_that_sees_a_higher_term_adopts_it_and_follows_5_1() -> None:
    bench = Bench(term=3)
    bench.lead()
    bench.receive("b", AppendEntriesResponse(9, success=False))
    assert bench.role() is Role.FOLLOWER
    assert bench.hard_state == HardState(9, None)


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(1, 3, True), (2, 2, True), (3, 2, True), (1, 2, False), (9, 1, False), (0, 0, False)],
)
def test_a_vote_goes_only_to_a_log_at_least_as_up_to_date_5_4_1(last_index: int, last_term: int, granted: bool) -> None:
    """Of two logs, the one with the later last term; with the same last term, the longer one."""
    bench = Bench(term=3, log=entries_of(1, 2))
    request = RequestVoteRequest(4, last_index, last_term)
    assert bench.answer_to("b", request, RequestVoteResponse).granted is granted
    bench = Bench(term=3, log=entries_of(1, 2))
    pre_vote = PreVoteRequest(4, last_index, last_term)
    assert bench.answer_to("b", pre_vote, PreVoteResponse).granted is granted


def test_a_granted_vote_restarts_the_election_timeout_and_a_refused_one_does_not_figure_2() -> None:
    bench = Bench(term=1, log=entries_of(1))
    bench.tick(ELECTION_TICKS - 1)
    bench.receive("b", RequestVoteRequest(1, 0, 0))
    assert bench.tick() != []
    bench = Bench(term=1)
    bench.tick(ELECTION_TICKS - 1)
    bench.receive("b", RequestVoteRequest(1, 0, 0))
    assert bench.tick(ELECTION_TICKS - 1) == []


def test_a_pre_vote_is_promised_to_many_and_changes_nothing_d_9_6() -> None:
    bench = Bench(term=3)
    for voter in ("b", "c"):
        assert bench.answer_to(voter, PreVoteRequest(4, 0, 0), PreVoteResponse) == PreVoteResponse(4, granted=True)
    assert bench.hard_state == HardState(3, None)


def test_a_node_that_hears_a_leader_grants_no_pre_vote_d_9_6() -> None:
    bench = Bench(term=3)
    bench.follow("b")
    request = PreVoteRequest(4, 9, 3)
    assert bench.answer_to("c", request, PreVoteResponse) == PreVoteResponse(3, granted=False)
    bench.timeout = 2 * ELECTION_TICKS
    bench.tick(ELECTION_TICKS)
    assert bench.answer_to("c", request, PreVoteResponse) == PreVoteResponse(4, granted=True)


def test_pre_votes_of_an_earlier_round_do_not_count_d_9_6() -> None:
    bench = Bench(term=3)
    bench.tick(ELECTION_TICKS)
    bench.receive("b", PreVoteResponse(3, granted=True))
    assert bench.role() is Role.PRE_CANDIDATE


def test_a_refused_pre_candidate_learns_the_term_that_overtook_it_d_9_6() -> None:
    bench = Bench(term=3)
    bench.tick(ELECTION_TICKS)
    bench.receive("b", PreVoteResponse(8, granted=False))
    assert bench.role() is Role.FOLLOWER
    assert bench.hard_state == HardState(8, None)


def test_a_node_that_hears_a_leader_ignores_candidates_and_their_terms_d_4_2_3() -> None:
    bench = Bench(term=3)
    bench.follow("b")
    assert bench.receive("c", RequestVoteRequest(7, 9, 6)) == []
    assert bench.core.current_term == 3
    assert bench.core.leader_id == "b"


def test_a_candidate_that_the_leader_itself_sends_is_not_ignored_d_3_10() -> None:
    bench = Bench(term=3)
    bench.follow("b")
    request = RequestVoteRequest(4, 0, 0, leadership_transfer=True)
    assert bench.answer_to("c", request, RequestVoteResponse).granted


def test_a_leader_that_no_majority_answers_for_an_election_timeout_steps_down_d_6_2() -> None:
    bench = Bench(voters=FIVE)
    bench.lead()
    bench.tick(ELECTION_TICKS)
    assert bench.role() is Role.LEADER
    bench.accept("b", 0)
    bench.tick(ELECTION_TICKS)
    assert bench.role() is Role.FOLLOWER
    assert bench.core.leader_id is None
    assert bench.hard_state == HardState(1, "a")


def test_a_leader_that_a_majority_answers_stays_d_6_2() -> None:
    bench = Bench(voters=FIVE)
    bench.lead()
    for _ in range(5):
        bench.accept("b", 0)
        bench.accept("e", 0)
        bench.tick(ELECTION_TICKS)
    assert bench.role() is Role.LEADER


def test_a_follower_whose_leader_is_suspected_asks_for_pre_votes_before_the_election_timeout() -> None:
    bench = Bench(term=3)
    bench.follow("b")
    bench.timeout = 2
    bench.core.suspect("b")
    assert bench.timeouts_drawn[-1] == (1, ELECTION_TICKS // 2)
    assert bench.tick(1) == []
    bench.tick(1)
    assert bench.role() is Role.PRE_CANDIDATE
    assert len(bench.sent_to("c", PreVoteRequest)) == 1


def test_a_follower_whose_leader_is_suspected_grants_pre_votes_at_once_d_9_6() -> None:
    bench = Bench(term=3)
    bench.follow("b")
    assert not bench.answer_to("c", PreVoteRequest(4, 0, 0), PreVoteResponse).granted
    bench.core.suspect("b")
    assert bench.answer_to("c", PreVoteRequest(4, 0, 0), PreVoteResponse).granted


def test_the_next_heartbeat_clears_a_suspected_leader() -> None:
    bench = Bench(term=3)
    bench.follow("b")
    bench.timeout = 2
    bench.core.suspect("b")
    bench.follow("b")
    assert bench.tick(ELECTION_TICKS - 1) == []
    assert bench.role() is Role.FOLLOWER
    assert not bench.answer_to("c", PreVoteRequest(4, 0, 0), PreVoteResponse).granted


def test_a_suspicion_against_anybody_but_the_leader_changes_nothing() -> None:
    follower = Bench(term=3)
    follower.follow("b")
    drawn = len(follower.timeouts_drawn)
    follower.core.suspect("c")
    assert len(follower.timeouts_drawn) == drawn
    leader = Bench()
    leader.lead_ready()
    leader.core.suspect("a")
    leader.core.suspect("b")
    assert leader.is_ready()


def test_role_changes_are_reported_with_their_reason() -> None:
    bench = Bench()
    bench.core.step(Message("b", "a", AppendEntriesRequest(2, 0, 0, (), 0)))
    events = [event for ready in bench.drain() for event in ready.events]
    assert events[-1] == RoleChanged(Role.FOLLOWER, 2, "b", "heard of a leader")
