"""Changing who belongs to the cluster, one server at a time: chapter 4 of the dissertation, rule by rule."""

import pytest

from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS, THREE, Bench, configuration_entry, entries_of
from utils.raft.core.configuration import AddLearner, Change, Configuration, Move, Promote, Remove, configuration_of
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    EntryKind,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    Snapshot,
    TimeoutNowRequest,
)
from utils.raft.core.ready import ConfigurationChanged, Role
from utils.raft.errors import MembershipBusyError, MembershipRefusedError, NotLeaderError, TransferFailedError


def leader() -> Bench:
    """ "a" leads "b" and "c" in term 1, and has committed its no-op at index 1."""
    bench = Bench()
    bench.lead_ready()
    return bench


def change(bench: Bench, *changes: Change) -> None:
    """Each is committed by the voters of the time."""
    for one in changes:
        bench.core.change_membership(one)
        bench.drain()
        for voter in bench.core.configuration.voters:
            if voter != "a":
                bench.accept(voter, bench.core.last_index)


def leader_with_learner() -> Bench:
    bench = leader()
    change(bench, AddLearner("d", "host:4"))
    return bench


def leader_of_four() -> Bench:
    bench = leader_with_learner()
    bench.accept("d", bench.core.last_index)
    change(bench, Promote("d"))
    return bench


def voters(bench: Bench) -> set[str]:
    return set(bench.core.configuration.voters)


# 4.1: safety


def test_a_configuration_is_in_force_as_soon_as_a_leader_has_appended_it_4_1() -> None:
    bench = leader()
    assert bench.core.change_membership(AddLearner("d", "host:4")) == 2
    assert bench.core.commit_index == 1
    assert bench.core.configuration == Configuration(dict.fromkeys(THREE, ""), {"d": "host:4"})
    bench.drain()
    assert bench.sent_to("d", AppendEntriesRequest) != []


def test_a_configuration_is_in_force_as_soon_as_a_follower_has_appended_it_4_1() -> None:
    bench = Bench(term=1)
    bench.append("b", term=1, entries=[configuration_entry(1, 1, "abcd")])
    assert bench.core.commit_index == 0
    assert voters(bench) == {"a", "b", "c", "d"}
    assert bench.events[-1] == ConfigurationChanged(Configuration(dict.fromkeys("abcd", "")), 1)


def test_a_configuration_that_is_truncated_falls_back_to_the_one_before_4_1() -> None:
    bench = Bench(term=1)
    bench.append("b", term=1, entries=[configuration_entry(1, 1, "abcd"), configuration_entry(2, 1, "abcde")])
    bench.append("c", term=2, prev=(1, 1), entries=entries_of(2, first_index=2))
    assert voters(bench) == {"a", "b", "c", "d"}
    bench.append("c", term=3, entries=entries_of(3))
    assert voters(bench) == {"a", "b", "c"}


def test_a_committed_configuration_is_what_a_later_one_falls_back_to_4_1() -> None:
    bench = Bench(term=1)
    for index, names in enumerate(("abcd", "abcde", "abcdef"), start=1):
        entry = configuration_entry(index, 1, names)
        bench.append("b", term=1, prev=(index - 1, min(index - 1, 1)), entries=[entry], commit=index - 1)
    bench.append("c", term=2, prev=(2, 1), entries=entries_of(2, first_index=3))
    assert voters(bench) == set("abcde")


def test_after_a_restart_the_newest_configuration_of_the_log_is_in_force_4_1() -> None:
    log = (configuration_entry(1, 1, "abcd"), *entries_of(1, 1, first_index=2))
    assert voters(Bench(voters=("a", "x", "y"), term=1, log=log)) == set("abcd")


def test_a_leader_changes_nothing_before_it_has_committed_an_entry_of_its_term_4_1() -> None:
    bench = Bench(term=1, log=entries_of(1))
    bench.lead()
    bench.accept("b", 1)
    with pytest.raises(MembershipBusyError, match="of its term"):
        bench.core.change_membership(AddLearner("d", "host:4"))
    assert bench.core.last_index == 2
    bench.accept("b", 2)
    assert bench.core.change_membership(AddLearner("d", "host:4")) == 3


def test_a_leader_changes_nothing_while_another_change_is_not_committed_4_1() -> None:
    bench = leader()
    bench.core.change_membership(AddLearner("d", "host:4"))
    bench.drain()
    with pytest.raises(MembershipBusyError, match="in flight"):
        bench.core.change_membership(Remove("b"))
    assert bench.core.last_index == 2
    bench.accept("b", 2)
    assert bench.core.change_membership(Remove("b")) == 3


def test_a_new_leader_waits_for_the_change_that_it_inherits_4_1() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "abcd"),))
    bench.voters = ("a", "b", "c", "d")
    bench.campaign_and_win()
    with pytest.raises(MembershipBusyError):
        bench.core.change_membership(Remove("d"))


def test_only_the_leader_changes_the_configuration() -> None:
    with pytest.raises(NotLeaderError):
        Bench().core.change_membership(Remove("b"))


def test_entries_are_committed_by_a_majority_of_the_newest_configuration_4_1() -> None:
    bench = leader_of_four()
    bench.core.propose([b"x"])
    bench.drain()
    index = bench.core.last_index
    bench.accept("b", index)
    assert bench.core.commit_index == index - 1
    bench.accept("d", index)
    assert bench.core.commit_index == index


def test_elections_are_won_by_a_majority_of_the_newest_configuration_4_1() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "abcd"),))
    bench.tick(ELECTION_TICKS)
    assert {message.recipient for message in bench.sent} == {"b", "c", "d"}
    bench.receive("b", PreVoteResponse(2, granted=True))
    assert bench.role() is Role.PRE_CANDIDATE
    bench.receive("d", PreVoteResponse(2, granted=True))
    assert bench.role() is Role.CANDIDATE
    bench.receive("b", RequestVoteResponse(2, granted=True))
    assert bench.role() is Role.CANDIDATE
    bench.receive("d", RequestVoteResponse(2, granted=True))
    assert bench.role() is Role.LEADER


def test_a_leader_goes_on_only_while_a_majority_of_the_newest_configuration_answers_6_2() -> None:
    bench = leader_of_four()
    for _ in range(2):
        bench.tick(ELECTION_TICKS)
        bench.accept("b", bench.core.last_index)
    assert bench.role() is Role.FOLLOWER


def test_reads_are_confirmed_by_a_majority_of_the_newest_configuration_6_4() -> None:
    bench = leader_of_four()
    bench.core.request_read()
    bench.drain()
    bench.accept("b", bench.core.last_index, read_id=1)
    assert bench.confirmed_reads == []
    bench.accept("d", bench.core.last_index, read_id=1)
    assert bench.confirmed_reads == [(1, bench.core.commit_index)]


# 4.2.1: catching up new servers


def test_a_learner_gets_the_log_4_2_1() -> None:
    bench = leader_with_learner()
    bench.accept("d", 0)
    sent = [entry.index for request in bench.sent_to("d", AppendEntriesRequest) for entry in request.entries]
    assert sent == [1, 2]


def test_a_learner_gets_a_snapshot_4_2_1() -> None:
    bench = leader()
    bench.commit_commands(5)
    bench.core.compact(4)
    change(bench, AddLearner("d", "host:4"))
    bench.reject("d", bench.core.last_index, conflict_index=1)
    assert bench.needs_snapshot


def test_a_learner_does_not_count_for_commitment_4_2_1() -> None:
    bench = leader_with_learner()
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("d", 3)
    assert bench.core.commit_index == 2


def test_a_learner_does_not_count_for_reads_4_2_1() -> None:
    bench = leader_with_learner()
    bench.core.request_read()
    bench.drain()
    bench.accept("d", 2, read_id=1)
    assert bench.confirmed_reads == []


def test_a_learner_does_not_keep_a_leader_in_office_4_2_1() -> None:
    bench = leader_with_learner()
    for _ in range(2):
        bench.tick(ELECTION_TICKS)
        bench.accept("d", 2)
    assert bench.role() is Role.FOLLOWER


def test_the_vote_of_a_learner_does_not_count_4_2_1() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "abc", "d"),))
    bench.tick(ELECTION_TICKS)
    assert {message.recipient for message in bench.sent} == {"b", "c"}
    bench.receive("d", PreVoteResponse(2, granted=True))
    assert bench.role() is Role.PRE_CANDIDATE
    bench.receive("b", PreVoteResponse(2, granted=True))
    bench.receive("d", RequestVoteResponse(2, granted=True))
    assert bench.role() is Role.CANDIDATE


def test_a_learner_starts_no_election_4_2_1() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "bcd", "a"),))
    assert bench.tick(10 * ELECTION_TICKS) == []
    assert bench.role() is Role.FOLLOWER


def test_leadership_is_not_handed_to_a_learner_3_10() -> None:
    bench = leader_with_learner()
    bench.accept("d", 2)
    with pytest.raises(TransferFailedError):
        bench.core.transfer_leadership("d")


def test_a_learner_does_not_take_over_3_10() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "bcd", "a"),))
    bench.follow("b", term=1)
    assert bench.receive("b", TimeoutNowRequest(1)) == []


def test_a_learner_is_not_promoted_before_it_has_the_log_4_2_1() -> None:
    bench = leader_with_learner()
    bench.accept("d", 1)
    with pytest.raises(MembershipRefusedError, match="caught up"):
        bench.core.change_membership(Promote("d"))
    bench.accept("d", 2)
    assert bench.core.change_membership(Promote("d")) == 3
    assert voters(bench) == {"a", "b", "c", "d"}


def test_a_learner_is_promoted_after_a_round_that_was_shorter_than_an_election_timeout_4_2_1() -> None:
    bench = leader_with_learner()

    def keep_leading(ticks: int) -> None:
        for _ in range(ticks):
            bench.tick()
            bench.accept("b", bench.core.last_index)

    keep_leading(ELECTION_TICKS + 1)
    bench.core.propose([b"x"])
    bench.accept("d", 2)
    # That round was long, and the next one is to the entry that came meanwhile.
    with pytest.raises(MembershipRefusedError):
        bench.core.change_membership(Promote("d"))
    keep_leading(ELECTION_TICKS)
    bench.accept("d", 3)
    assert bench.core.change_membership(Promote("d")) == 4


def test_a_learner_that_falls_behind_again_is_not_promoted_4_2_1() -> None:
    bench = leader_with_learner()
    bench.accept("d", 2)
    for _ in range(ELECTION_TICKS + 1):
        bench.tick()
        bench.accept("b", 2)
    with pytest.raises(MembershipRefusedError):
        bench.core.change_membership(Promote("d"))


def test_a_learner_that_lost_its_disk_again_is_not_promoted() -> None:
    bench = leader_with_learner()
    bench.accept("d", 2)
    bench.tick(HEARTBEAT_TICKS)
    probe = bench.sent_to("d", AppendEntriesRequest)[-1]
    answer = AppendEntriesResponse(
        1, success=False, conflict_index=1, rejected_index=probe.prev_log_index, probe_id=probe.probe_id
    )
    bench.receive("d", answer)
    with pytest.raises(MembershipRefusedError):
        bench.core.change_membership(Promote("d"))


# 4.2.2: removing the current leader


def test_a_leader_does_not_count_itself_while_it_removes_itself_4_2_2() -> None:
    bench = leader()
    bench.core.change_membership(Remove("a"))
    bench.drain()
    bench.accept("b", 2)
    assert bench.core.commit_index == 1
    assert bench.role() is Role.LEADER
    bench.accept("c", 2)
    assert bench.core.commit_index == 2


def test_a_leader_that_removes_itself_does_not_confirm_its_own_reads_4_2_2() -> None:
    bench = leader()
    bench.core.change_membership(Remove("a"))
    bench.core.request_read()
    bench.drain()
    bench.accept("b", 1, read_id=1)
    assert bench.confirmed_reads == []
    bench.accept("c", 1, read_id=1)
    assert bench.confirmed_reads == [(1, 1)]


def test_a_leader_steps_down_once_its_own_removal_is_committed_4_2_2() -> None:
    bench = leader()
    bench.core.change_membership(Remove("a"))
    bench.drain()
    bench.accept("b", 2)
    bench.accept("c", 2)
    assert bench.role() is Role.FOLLOWER
    assert [entry.index for entry in bench.committed] == [1, 2]
    # The others need not wait for an election timeout.
    assert bench.sent in ([Message("a", "b", TimeoutNowRequest(1))], [Message("a", "c", TimeoutNowRequest(1))])
    assert bench.tick(10 * ELECTION_TICKS) == []


def test_a_leader_that_removes_itself_takes_no_more_proposals() -> None:
    bench = leader()
    bench.core.change_membership(Remove("a"))
    with pytest.raises(NotLeaderError):
        bench.core.propose([b"x"])
    assert not bench.is_ready()


def test_a_server_starts_no_election_once_its_log_says_that_it_was_removed_4_2_2() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "bcd"),))
    assert bench.tick(10 * ELECTION_TICKS) == []


def test_a_candidate_that_is_not_known_gets_a_vote_4_2_2() -> None:
    """By a configuration that has not come here yet it may be a member, and this node a voter that it needs."""
    bench = Bench(term=1, log=(configuration_entry(1, 1, "bcd", "a"),))
    pre_vote = bench.answer_to("z", PreVoteRequest(2, 5, 1), PreVoteResponse)
    vote = bench.answer_to("z", RequestVoteRequest(2, 5, 1), RequestVoteResponse)
    assert (pre_vote, vote) == (PreVoteResponse(2, granted=True), RequestVoteResponse(2, granted=True))


def test_a_server_that_knows_no_configuration_obeys_and_votes_4_2_2() -> None:
    bench = Bench(voters=())
    assert bench.tick(10 * ELECTION_TICKS) == []
    assert bench.append("b", term=3, entries=[configuration_entry(1, 3, "bc", "a")]).success
    assert bench.core.configuration.learners == {"a": ""}
    bench.tick(ELECTION_TICKS)
    assert bench.answer_to("c", RequestVoteRequest(4, 1, 3), RequestVoteResponse).granted


# 4.2.3: disruptive servers


def test_a_server_that_was_removed_is_told_so_and_then_left_alone_4_2_3() -> None:
    bench = leader()
    bench.core.change_membership(Remove("c"))
    bench.drain()
    [request] = bench.sent_to("c", AppendEntriesRequest)
    assert [entry.kind for entry in request.entries] == [EntryKind.CONFIGURATION]
    bench.accept("c", 2)
    bench.tick(HEARTBEAT_TICKS)
    assert {message.recipient for message in bench.sent} == {"b"}


def test_a_server_that_was_removed_and_is_away_is_left_alone_4_2_3() -> None:
    bench = leader()
    bench.core.change_membership(Remove("c"))
    for _ in range(2):
        bench.tick(ELECTION_TICKS)
        bench.accept("b", 2)
    bench.tick(HEARTBEAT_TICKS)
    assert {message.recipient for message in bench.sent} == {"b"}


def test_what_a_removed_server_holds_does_not_count_4_2_3() -> None:
    bench = leader_of_four()
    bench.core.change_membership(Remove("d"))
    bench.drain()
    index = bench.core.last_index
    bench.accept("d", index)
    assert bench.core.commit_index == index - 1
    bench.accept("b", index)
    assert bench.core.commit_index == index


def test_a_removed_server_with_a_higher_term_deposes_nobody_4_2_3() -> None:
    bench = leader()
    change(bench, Remove("c"))
    bench.accept("c", 2)
    bench.receive("c", PreVoteRequest(9, 9, 8))
    bench.receive("c", RequestVoteRequest(9, 9, 8))
    bench.receive("c", AppendEntriesResponse(9, success=False))
    assert (bench.role(), bench.core.current_term) == (Role.LEADER, 1)


def test_a_removed_server_finds_no_pre_votes_among_those_who_hear_a_leader_4_2_3() -> None:
    bench = Bench(term=1)
    bench.append("b", term=1, entries=[configuration_entry(1, 1, "ab")])
    answer = bench.answer_to("c", PreVoteRequest(2, 9, 1), PreVoteResponse)
    assert answer == PreVoteResponse(1, granted=False)
    assert bench.receive("c", RequestVoteRequest(2, 9, 1)) == []


def test_a_server_that_comes_again_is_taken_for_one_that_holds_nothing() -> None:
    bench = leader()
    change(bench, Remove("c"))
    change(bench, AddLearner("c", "host:3"))
    assert bench.core.replication is not None
    assert bench.core.replication.match_index("c") == 0
    # What it acknowledged before it was removed, heard late, is not enough to be promoted.
    bench.accept("c", 2)
    with pytest.raises(MembershipRefusedError):
        bench.core.change_membership(Promote("c"))


# What cannot be


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (AddLearner("b", "host:2"), "is a voter"),
        (AddLearner("", "host:2"), "node id"),
        (AddLearner("d", ""), "address"),
        (AddLearner("d\n", "host:2"), "node id"),
        (AddLearner("d", "h" * 256 + ":1"), "address"),
        (AddLearner("d", "host"), "address"),
        (AddLearner("d", "host:0"), "address"),
        (AddLearner("d", "host:65536"), "address"),
        (AddLearner("d", "host:\u0663"), "address"),
        (Promote("z"), "add it first"),
        (Move("z", "host:9"), "not a member"),
        (Move("b", ""), "address"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(refused: Change, why: str) -> None:
    bench = leader()
    with pytest.raises(MembershipRefusedError, match=why):
        bench.core.change_membership(refused)
    assert bench.core.last_index == 1


def test_the_last_voter_stays() -> None:
    bench = Bench(voters=("a",))
    bench.tick(ELECTION_TICKS)
    with pytest.raises(MembershipRefusedError, match="last voter"):
        bench.core.change_membership(Remove("a"))


def test_a_cluster_has_a_bounded_size() -> None:
    bench = Bench(voters=("a",))
    bench.tick(ELECTION_TICKS)
    for number in range(30):
        bench.core.change_membership(AddLearner(f"n{number}", "host:1"))
        bench.drain()
    with pytest.raises(MembershipRefusedError, match="at most 31"):
        bench.core.change_membership(AddLearner("one too many", "host:1"))


@pytest.mark.parametrize("repeated", [AddLearner("d", "host:4"), Remove("z"), Promote("b"), Move("d", "host:4")])
def test_a_change_that_has_come_about_already_appends_nothing(repeated: Change) -> None:
    bench = leader_with_learner()
    assert bench.core.change_membership(repeated) == 2
    assert bench.core.last_index == 2


def test_a_member_may_move() -> None:
    bench = leader_with_learner()
    change(bench, Move("b", "elsewhere:2"), Move("d", "elsewhere:4"))
    assert bench.core.configuration == Configuration({"a": "", "b": "elsewhere:2", "c": ""}, {"d": "elsewhere:4"})


def test_a_cluster_of_one_grows() -> None:
    bench = Bench(voters=("a",))
    bench.tick(ELECTION_TICKS)
    bench.core.change_membership(AddLearner("d", "host:4"))
    bench.drain()
    bench.accept("d", 2)
    bench.core.change_membership(Promote("d"))
    bench.drain()
    assert bench.core.commit_index == 2
    bench.accept("d", 3)
    assert bench.core.commit_index == 3


# Snapshots


def test_a_snapshot_brings_the_configuration_as_of_its_last_entry_after_a_restart() -> None:
    configuration = Configuration(dict.fromkeys("abcd", ""))
    bench = Bench(term=1, snapshot=Snapshot(5, 1, configuration.encoded(), b"state"), log=entries_of(1, first_index=6))
    assert voters(bench) == set("abcd")


def test_entries_after_a_snapshot_bring_newer_configurations_than_it() -> None:
    snapshot = Snapshot(5, 1, Configuration(dict.fromkeys("abcd", "")).encoded(), b"state")
    assert voters(Bench(term=1, snapshot=snapshot, log=[configuration_entry(6, 1, "abcde")])) == set("abcde")


def test_a_snapshot_of_the_leader_brings_its_configuration() -> None:
    bench = Bench(term=1, log=(configuration_entry(1, 1, "abcde"),))
    configuration = Configuration(dict.fromkeys("abcd", ""))
    bench.install("b", term=2, last=(5, 2), data=b"state", configuration=configuration.encoded())
    assert voters(bench) == set("abcd")
    bench.append("c", term=3, prev=(5, 2), entries=[configuration_entry(6, 3, "abc")])
    assert voters(bench) == set("abc")


def test_a_snapshot_from_before_any_change_leaves_the_configuration_that_the_cluster_began_with() -> None:
    bench = Bench(term=1)
    bench.install("b", term=2, last=(5, 2), data=b"state")
    assert voters(bench) == set(THREE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not msgpack",
        Configuration().encoded(),
        Configuration({}, {"a": ""}).encoded(),
        Configuration({"a": ""}, {"a": ""}).encoded(),
    ],
)
def test_bytes_that_are_no_configuration_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="configuration"):
        configuration_of(data)


@pytest.mark.parametrize(
    "request_",
    [
        AppendEntriesRequest(1, 0, 0, (), 0),
        AppendEntriesRequest(9, 0, 0, (), 0),
        RequestVoteRequest(9, 9, 8, leadership_transfer=True),
    ],
)
def test_nobody_obeys_a_stranger_while_a_leader_is_heard(request_: AppendEntriesRequest | RequestVoteRequest) -> None:
    bench = Bench()
    bench.follow("b", term=1)
    assert bench.receive("x", request_) == []
    assert (bench.core.leader_id, bench.core.current_term, bench.hard_state.voted_for) == ("b", 1, "b")


def test_a_stranger_may_lead_when_no_leader_is_heard_4_1() -> None:
    """Its configuration may be the newer one."""
    bench = Bench()
    bench.follow("b", term=1)
    bench.tick(ELECTION_TICKS)
    bench.follow("x", term=2)
    assert (bench.core.leader_id, bench.core.current_term) == ("x", 2)
