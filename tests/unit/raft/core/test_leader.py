"""Log replication as a leader does it. Sections are those of the Raft paper (extended version); "D": dissertation."""

import pytest

from tests.unit.raft.core.support import FIVE, HEARTBEAT_TICKS, Bench, entries_of
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshotResponse,
    Message,
)
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError


def indexes(request: AppendEntriesRequest) -> list[int]:
    return [entry.index for entry in request.entries]


def rejection(term: int, rejected_index: int, conflict_index: int, conflict_term: int = 0) -> AppendEntriesResponse:
    return AppendEntriesResponse(
        term,
        success=False,
        conflict_index=conflict_index,
        conflict_term=conflict_term,
        rejected_index=rejected_index,
    )


def test_a_new_leader_appends_a_no_op_8() -> None:
    bench = Bench(term=3, log=entries_of(1, 3))
    bench.lead()
    assert bench.log[-1] == Entry(3, 4, EntryKind.NO_OP, b"")


def test_a_proposal_gets_the_next_index_and_the_current_term_5_3() -> None:
    bench = Bench()
    bench.lead()
    assert bench.core.propose([b"x", b"y"]) == range(2, 4)
    bench.drain()
    assert bench.log[1:] == [Entry(2, 1, EntryKind.COMMAND, b"x"), Entry(3, 1, EntryKind.COMMAND, b"y")]


def test_only_the_leader_takes_proposals_and_the_others_say_who_leads_5_1() -> None:
    bench = Bench(term=1)
    with pytest.raises(NotLeaderError) as nobody:
        bench.core.propose([b"x"])
    assert nobody.value.leader_id is None
    bench.follow("b")
    with pytest.raises(NotLeaderError) as other:
        bench.core.propose([b"x"])
    assert other.value.leader_id == "b"
    assert bench.core.last_index == 0


def test_a_proposal_for_another_term_is_refused() -> None:
    bench = Bench(term=4)
    bench.lead()
    with pytest.raises(NotLeaderError):
        bench.core.propose([b"x"], term=4)
    assert bench.core.last_index == 1
    assert bench.core.propose([b"x"], term=5) == range(2, 3)


def test_an_entry_is_committed_once_a_majority_holds_it_5_3() -> None:
    bench = Bench(voters=FIVE)
    bench.lead_ready()
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("b", 2)
    assert bench.core.commit_index == 1
    bench.accept("b", 2)
    assert bench.core.commit_index == 1
    bench.accept("c", 2)
    assert bench.core.commit_index == 2
    assert bench.committed[-1].data == b"x"


def test_the_leaders_own_disk_counts_only_once_it_has_the_entry_d_10_2_1() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.is_disk_slow = True
    bench.core.propose([b"x"])
    bench.drain()
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[2]]
    bench.accept("b", 2)
    assert bench.core.commit_index == 1
    bench.core.persisted(2, 1)
    assert bench.core.commit_index == 2


def test_a_majority_of_others_commits_while_the_leaders_own_disk_is_busy_d_10_2_1() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.is_disk_slow = True
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("b", 2)
    bench.accept("c", 2)
    assert bench.core.commit_index == 2


def test_entries_leave_before_the_leaders_own_disk_has_them_d_10_2_1() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.core.propose([b"x"])
    [ready, *_] = bench.drain()
    assert ready.entries[0].data == b"x"
    assert [message.recipient for message in ready.early_messages] == ["b", "c"]
    assert ready.messages == ()


def test_an_entry_of_an_older_term_is_not_committed_by_counting_5_4_2_figure_8() -> None:
    bench = Bench(term=3, log=entries_of(1, 2))
    bench.lead()
    bench.accept("b", 2)
    bench.accept("c", 2)
    assert bench.core.commit_index == 0
    assert not bench.is_ready()
    bench.accept("b", 3)
    assert bench.core.commit_index == 3
    assert bench.is_ready()
    assert [entry.index for entry in bench.committed] == [1, 2, 3]


def test_followers_learn_the_commit_index_with_the_next_heartbeat_5_3() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.tick(HEARTBEAT_TICKS)
    assert [request.leader_commit for request in bench.sent_to("b", AppendEntriesRequest)] == [1]


def test_proposals_between_two_readies_travel_in_one_message() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.core.propose([b"x", b"y"])
    bench.core.propose([b"z"])
    bench.drain()
    [request] = bench.sent_to("b", AppendEntriesRequest)
    assert (request.prev_log_index, request.prev_log_term) == (1, 1)
    assert [entry.data for entry in request.entries] == [b"x", b"y", b"z"]


def test_messages_are_bounded_in_entries_and_bytes_but_a_large_entry_still_travels() -> None:
    bench = Bench(limits=Limits(entries_per_message=3, bytes_per_message=10))
    bench.lead_ready()
    bench.core.propose([b"1", b"2", b"3", b"4", b"5" * 9, b"6", b"7" * 99, b"8"])
    bench.drain()
    sent = [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)]
    assert sent == [[2, 3, 4], [5, 6], [7], [8], [9]]


def test_no_more_than_the_limit_is_in_flight_and_answers_make_room() -> None:
    bench = Bench(limits=Limits(entries_per_message=1, messages_in_flight=2))
    bench.lead_ready()
    bench.core.propose([b"2", b"3", b"4", b"5"])
    bench.drain()
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[2], [3]]
    bench.accept("b", 2)
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[4]]
    bench.accept("b", 4)
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[5]]


def test_a_follower_that_does_not_answer_is_not_flooded() -> None:
    bench = Bench(voters=FIVE, limits=Limits(entries_per_message=1, messages_in_flight=2))
    bench.lead_ready()
    for _ in range(20):
        bench.core.propose([b"x"])
    bench.drain()
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[2], [3]]
    # Only heartbeats now.
    for _ in range(3):
        bench.tick(HEARTBEAT_TICKS)
        assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[]]


def test_where_the_logs_meet_is_looked_for_without_entries_one_message_at_a_time() -> None:
    bench = Bench(term=3, log=entries_of(1, 1, 3))
    bench.campaign_and_win()
    assert [(request.prev_log_index, indexes(request)) for request in bench.sent_to("b", AppendEntriesRequest)] == [
        (3, [])
    ]
    bench.core.propose([b"x"])
    bench.drain()
    assert bench.sent == []
    bench.accept("b", 3)
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[4, 5]]


def test_a_rejected_leader_looks_further_back_until_the_logs_meet_5_3() -> None:
    bench = Bench(term=3, log=entries_of(1, 1, 3))
    bench.campaign_and_win()
    bench.receive("b", rejection(4, rejected_index=3, conflict_index=2))
    assert [request.prev_log_index for request in bench.sent_to("b", AppendEntriesRequest)] == [1]
    bench.accept("b", 1)
    [request] = bench.sent_to("b", AppendEntriesRequest)
    assert (request.prev_log_index, request.prev_log_term, indexes(request)) == (1, 1, [2, 3, 4])


@pytest.mark.parametrize(
    ("log_terms", "conflict", "next_prev"),
    [
        # The leader has the conflicting term: the logs may meet at its own last entry of it.
        ((1, 2, 2, 4, 4), (1, 2), 3),
        # It has not: the follower's whole term is skipped.
        ((1, 1, 2, 4, 4), (3, 3), 2),
        # Never forward, whatever the hint says.
        ((1, 2, 2, 4, 4), (9, 0), 4),
    ],
)
def test_a_leader_skips_a_conflicting_term_at_a_time_5_3(
    log_terms: tuple[int, ...], conflict: tuple[int, int], next_prev: int
) -> None:
    bench = Bench(term=4, log=entries_of(*log_terms))
    bench.campaign_and_win()
    bench.receive("b", rejection(5, rejected_index=5, conflict_index=conflict[0], conflict_term=conflict[1]))
    assert [request.prev_log_index for request in bench.sent_to("b", AppendEntriesRequest)] == [next_prev]


def test_a_late_rejection_changes_nothing() -> None:
    bench = Bench(term=3, log=entries_of(1, 1, 3))
    bench.lead_ready()
    assert bench.receive("b", rejection(4, rejected_index=3, conflict_index=1)) == []
    bench.core.propose([b"x"])
    bench.drain()
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[5]]


def test_a_rejection_while_probing_elsewhere_changes_nothing() -> None:
    bench = Bench(term=3, log=entries_of(1, 1, 3))
    bench.campaign_and_win()
    bench.receive("b", rejection(4, rejected_index=3, conflict_index=2))
    assert bench.receive("b", rejection(4, rejected_index=3, conflict_index=1)) == []


def test_a_late_answer_does_not_take_back_what_was_acknowledged_5_3() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("b", 2)
    bench.accept("b", 1)
    bench.core.propose([b"y"])
    bench.drain()
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[3]]
    assert bench.core.commit_index == 2


def test_what_was_lost_is_sent_again_after_the_next_heartbeat_5_3() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.core.propose([b"x", b"y"])
    bench.drain()
    bench.tick(HEARTBEAT_TICKS)
    [heartbeat] = bench.sent_to("b", AppendEntriesRequest)
    assert (heartbeat.prev_log_index, indexes(heartbeat)) == (3, [])
    bench.receive("b", rejection(1, rejected_index=3, conflict_index=2))
    [probe] = bench.sent_to("b", AppendEntriesRequest)
    assert (probe.prev_log_index, indexes(probe)) == (1, [])
    bench.accept("b", 1)
    assert [indexes(request) for request in bench.sent_to("b", AppendEntriesRequest)] == [[2, 3]]


def test_answers_of_an_older_term_are_not_counted_5_1() -> None:
    bench = Bench(term=3)
    bench.lead()
    old = AppendEntriesResponse(3, success=True, match_index=1, read_id=9)
    bench.receive("b", old)
    bench.receive("c", old)
    assert bench.core.commit_index == 0


def test_a_deposed_leader_takes_no_proposals_5_1() -> None:
    bench = Bench()
    bench.lead()
    bench.follow("b", term=2)
    assert bench.role() is Role.FOLLOWER
    with pytest.raises(NotLeaderError):
        bench.core.propose([b"x"])


def test_writes_of_an_earlier_term_do_not_count_for_this_one() -> None:
    """The entry might have been replaced while it was on its way to the disk."""
    bench = Bench(term=1, log=entries_of(1))
    bench.lead()
    bench.is_disk_slow = True
    bench.core.propose([b"x"])
    bench.drain()
    bench.core.persisted(3, 1)
    bench.accept("b", 3)
    assert bench.core.commit_index == 2


def test_a_long_log_is_handed_out_in_parts() -> None:
    bench = Bench(limits=Limits(committed_per_ready=2))
    bench.core.step(Message("b", "a", AppendEntriesRequest(1, 0, 0, entries_of(1, 1, 1, 1, 1), leader_commit=5)))
    sizes = [len(ready.committed) for ready in bench.drain()]
    assert sizes == [2, 2, 1]
    assert [entry.index for entry in bench.committed] == [1, 2, 3, 4, 5]


def test_status_says_what_has_been_applied() -> None:
    bench = Bench()
    bench.lead_ready()
    bench.core.applied(1)
    bench.core.applied(0)
    status = bench.core.status
    assert (status.role, status.term, status.leader_id, status.is_ready) == (Role.LEADER, 1, "a", True)
    assert (status.commit_index, status.last_applied, status.last_index) == (1, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        AppendEntriesResponse(1, success=True, match_index=3),
        AppendEntriesResponse(1, success=True, match_index=2**62),
        AppendEntriesResponse(1, success=True, match_index=2, read_id=2),
        InstallSnapshotResponse(1, 3, 0, done=True),
    ],
)
def test_an_answer_to_what_was_never_sent_changes_nothing(answer: AppendEntriesResponse) -> None:
    bench = Bench()
    bench.lead_ready()
    bench.core.propose([b"x"])
    bench.core.request_read()
    bench.drain()
    bench.receive("b", answer)
    assert bench.core.commit_index == 1
    assert bench.confirmed_reads == []
    bench.accept("b", 2, read_id=1)
    assert bench.core.commit_index == 2
    assert len(bench.confirmed_reads) == 1
