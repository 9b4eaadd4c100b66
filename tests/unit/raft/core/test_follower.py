"""Log replication as a follower does it. Sections are those of the Raft paper (extended version)."""

import pytest

from tests.unit.raft.core.support import ELECTION_TICKS, Bench, entries_of
from utils.raft.core.messages import AppendEntriesRequest, AppendEntriesResponse, Message
from utils.raft.core.ready import HardState, LogTruncated


def test_a_follower_appends_what_its_log_lacks_5_3() -> None:
    bench = Bench(term=2, log=entries_of(1, 2))
    answer = bench.append(term=2, prev=(2, 2), entries=entries_of(2, 2, first_index=3))
    assert answer == AppendEntriesResponse(2, success=True, match_index=4)
    assert bench.log == [*entries_of(1, 2, 2, 2)]


def test_a_follower_answers_only_after_entries_and_term_are_durable_figure_2() -> None:
    bench = Bench()
    bench.core.step(Message("b", "a", AppendEntriesRequest(3, 0, 0, entries_of(3), 0)))
    [ready] = bench.drain()
    assert ready.hard_state == HardState(3, "b")
    assert ready.entries == entries_of(3)
    assert ready.early_messages == ()
    assert ready.messages == (Message("a", "b", AppendEntriesResponse(3, success=True, match_index=1)),)


def test_a_follower_refuses_a_leader_of_an_older_term_and_tells_it_the_current_one_5_1() -> None:
    bench = Bench(term=5, log=entries_of(1))
    assert bench.append(term=4, prev=(1, 1), entries=entries_of(4, first_index=2)) == AppendEntriesResponse(
        5, success=False
    )
    assert bench.log == [*entries_of(1)]
    assert bench.core.leader_id is None


def test_a_heartbeat_restarts_the_election_timeout_5_2() -> None:
    bench = Bench(term=1)
    for _ in range(5):
        bench.follow()
        assert bench.tick(ELECTION_TICKS - 1) == []


def test_a_leader_of_an_older_term_does_not_restart_the_election_timeout_5_2() -> None:
    bench = Bench(term=5)
    bench.tick(ELECTION_TICKS - 1)
    bench.append(term=4)
    assert bench.tick() != []


@pytest.mark.parametrize(
    ("log_terms", "prev", "conflict"),
    [
        # Too short: look after its end.
        ((1, 1), (5, 4), (3, 0)),
        ((), (5, 4), (1, 0)),
        # Another term at that index: the first index of that term, skipping all of it.
        ((1, 1, 2, 2, 2), (5, 4), (3, 2)),
        ((2, 2, 2), (2, 1), (1, 2)),
    ],
)
def test_a_follower_without_the_entry_before_refuses_and_says_where_to_look_5_3(
    log_terms: tuple[int, ...], prev: tuple[int, int], conflict: tuple[int, int]
) -> None:
    bench = Bench(term=4, log=entries_of(*log_terms))
    answer = bench.append(term=4, prev=prev, entries=entries_of(4, first_index=prev[0] + 1))
    assert answer == AppendEntriesResponse(
        4, success=False, conflict_index=conflict[0], conflict_term=conflict[1], rejected_index=prev[0]
    )
    assert bench.log == [*entries_of(*log_terms)]


def test_a_conflicting_entry_and_all_after_it_give_way_5_3() -> None:
    bench = Bench(term=3, log=entries_of(1, 2, 2, 2))
    bench.core.step(Message("b", "a", AppendEntriesRequest(3, 1, 1, entries_of(3, first_index=2), 0)))
    readies = bench.drain()
    assert bench.log == [*entries_of(1, 3)]
    assert [event for event in readies[0].events if isinstance(event, LogTruncated)] == [LogTruncated(2, 4, 3)]


def test_a_late_or_repeated_request_does_not_shorten_the_log_figure_2() -> None:
    bench = Bench(term=1)
    entries = entries_of(1, 1, 1)
    bench.append(term=1, entries=entries)
    assert bench.append(term=1, entries=entries[:1]).match_index == 1
    assert bench.append(term=1).match_index == 0
    assert bench.core.last_index == 3
    assert bench.log == [*entries]


def test_only_what_the_request_verified_is_acknowledged_figure_2() -> None:
    """What follows may be another leader's."""
    bench = Bench(term=2, log=entries_of(1, 1, 1))
    assert bench.append("b", term=3, prev=(1, 1)).match_index == 1


def test_commit_goes_no_further_than_what_the_request_verified_figure_2() -> None:
    bench = Bench(term=2, log=entries_of(1, 2, 2))
    bench.append(term=3, prev=(1, 1), commit=3)
    assert bench.core.commit_index == 1
    assert bench.committed == [*entries_of(1)]


def test_commit_goes_no_further_than_the_leader_says_5_3() -> None:
    bench = Bench()
    bench.append(term=1, entries=entries_of(1, 1, 1), commit=2)
    assert bench.core.commit_index == 2
    assert bench.committed == [*entries_of(1, 1)]


def test_commit_never_goes_back_5_3() -> None:
    bench = Bench()
    bench.append(term=1, entries=entries_of(1, 1, 1), commit=3)
    bench.append(term=1, prev=(3, 1), commit=1)
    assert bench.core.commit_index == 3
    assert bench.committed == [*entries_of(1, 1, 1)]


def test_a_request_that_begins_before_the_commit_index_is_taken_from_there() -> None:
    bench = Bench()
    bench.append(term=1, entries=entries_of(1, 1), commit=2)
    assert bench.append(term=1, entries=entries_of(1, 1, 1), commit=3).match_index == 3
    assert bench.append(term=1, entries=entries_of(1)).match_index == 3
    assert bench.committed == [*entries_of(1, 1, 1)]


def test_a_committed_entry_is_never_replaced() -> None:
    bench = Bench()
    bench.append(term=1, entries=entries_of(1, 1), commit=2)
    bench.append(term=2, entries=entries_of(2, 2))
    assert bench.log == [*entries_of(1, 1)]


def test_two_leaders_of_one_term_stop_the_process_5_2() -> None:
    bench = Bench()
    bench.lead()
    with pytest.raises(AssertionError, match="b also leads in term 1"):
        bench.append("b", term=1)


def test_a_log_with_a_gap_stops_the_process() -> None:
    with pytest.raises(AssertionError, match="entry 3 does not follow 1"):
        Bench(term=1, log=[*entries_of(1), *entries_of(1, first_index=3)])


def test_a_restarted_node_keeps_its_log_and_commits_nothing_by_itself_5_3() -> None:
    bench = Bench(term=2, log=entries_of(1, 2))
    assert bench.drain() == []
    assert (bench.core.last_index, bench.core.commit_index) == (2, 0)
