"""A log whose beginning a snapshot has replaced, in memory and on a disk.

Sections and figures are those of the Raft paper (extended version).
"""

import pytest

from tests.unit.raft.core.support import Bench, entries_of
from utils.raft.core.messages import (
    AppendEntriesRequest,
    LogBase,
    RequestVoteRequest,
    Snapshot,
)
from utils.raft.core.ready import Compaction
from utils.raft.core.snapshots import log_beside_snapshot

OF_FIVE = Snapshot(5, 1, b"", b"0123456789")


def leader_with_snapshot() -> Bench:
    """Leads "b" and "c" in term 1, has 8 committed entries and has forgotten the first 5."""
    bench = Bench()
    bench.lead_ready()
    bench.commit_commands(7)
    bench.core.compact(5)
    bench.drain()
    return bench


def test_a_compacted_log_goes_on_from_its_base_7() -> None:
    bench = leader_with_snapshot()
    assert bench.base == LogBase(5, 1)
    assert [entry.index for entry in bench.log] == [6, 7, 8]
    assert bench.core.last_index == 8
    bench.commit_commands(1)
    assert [entry.index for entry in bench.log] == [6, 7, 8, 9]


def test_what_was_not_applied_is_not_forgotten_7() -> None:
    bench = Bench(term=1, log=entries_of(1, 1))
    with pytest.raises(AssertionError, match="not applied"):
        bench.core.compact(1)


def test_forgetting_what_is_forgotten_changes_nothing() -> None:
    bench = leader_with_snapshot()
    bench.core.compact(3)
    bench.core.compact(5)
    assert bench.drain() == []


def test_the_disk_is_left_with_what_it_was_given_before_7() -> None:
    """Entries that it has not been given yet come after the compaction, in the same Ready."""
    bench = Bench()
    bench.lead_ready()
    bench.commit_commands(3)
    bench.core.propose([b"new"])
    bench.core.compact(2)
    [ready] = bench.drain()
    assert ready.compaction == Compaction(LogBase(2, 1), tuple(bench.log[:2]))
    assert [entry.index for entry in ready.entries] == [5]


def test_a_conflict_after_the_base_does_not_bring_back_what_is_forgotten_5_3() -> None:
    bench = Bench(term=2, snapshot=Snapshot(3, 1), log=entries_of(1, 2, 2, first_index=4))
    answer = bench.append(term=3, prev=(6, 3))
    assert (answer.conflict_index, answer.conflict_term) == (5, 2)
    bench.append(term=3, prev=(3, 1), entries=entries_of(3, first_index=4))
    assert bench.log == [*entries_of(3, first_index=4)]


def test_a_log_that_is_all_forgotten_still_says_how_up_to_date_it_is_5_4_1() -> None:
    bench = Bench(term=3, snapshot=Snapshot(7, 3))
    bench.campaign()
    assert bench.sent_to("b", RequestVoteRequest) == [RequestVoteRequest(4, 7, 3)]


def test_the_base_is_where_a_conflicting_term_may_end_5_3() -> None:
    """The leader knows the term of its base, and need not send a snapshot to whoever meets it there."""
    bench = Bench(term=3, snapshot=Snapshot(5, 2), log=entries_of(3, 3, first_index=6))
    bench.campaign_and_win()
    bench.reject("c", rejected_index=7, conflict_index=4, conflict_term=2)
    [probe] = bench.sent_to("c", AppendEntriesRequest)
    assert (probe.prev_log_index, probe.prev_log_term) == (5, 2)
    assert not bench.needs_snapshot


def test_entries_behind_the_snapshot_are_kept_for_followers_after_a_restart() -> None:
    bench = Bench(term=1, snapshot=OF_FIVE, base=LogBase(2, 1), log=entries_of(1, 1, 1, 1, first_index=3))
    assert (bench.core.commit_index, bench.core.last_index) == (5, 6)
    bench.campaign_and_win()
    bench.reject("c", rejected_index=6, conflict_index=3)
    [probe] = bench.sent_to("c", AppendEntriesRequest)
    assert probe.prev_log_index == 2
    assert not bench.needs_snapshot
    assert bench.committed == []


# What a power cut leaves


def test_a_log_that_goes_on_from_the_snapshot_counts() -> None:
    assert log_beside_snapshot(Snapshot(2, 1), LogBase(), entries_of(1, 1, 1)) is None
    assert log_beside_snapshot(Snapshot(2, 1), LogBase(1, 1), entries_of(1, 1, first_index=2)) is None
    assert log_beside_snapshot(Snapshot(2, 1), LogBase(2, 1), ()) is None
    assert log_beside_snapshot(Snapshot(), LogBase(), ()) is None


@pytest.mark.parametrize(
    ("base", "terms"),
    [
        # Shorter than the snapshot.
        (LogBase(), (1,)),
        (LogBase(1, 1), ()),
        # It ends with another term.
        (LogBase(), (1, 1)),
        (LogBase(2, 1), (1,)),
    ],
)
def test_a_log_that_a_snapshot_was_to_replace_does_not_count_figure_13(base: LogBase, terms: tuple[int, ...]) -> None:
    entries = entries_of(*terms, first_index=base.index + 1)
    assert log_beside_snapshot(Snapshot(2, 2), base, entries) == (LogBase(2, 2), ())


def test_the_log_of_a_deposed_leader_does_not_outlive_a_snapshot() -> None:
    assert log_beside_snapshot(Snapshot(2, 2), LogBase(), entries_of(1, 1, 1)) == (LogBase(2, 2), ())


def test_a_log_that_begins_after_the_snapshot_is_a_broken_promise() -> None:
    with pytest.raises(AssertionError, match="a snapshot up to 3 is missing"):
        log_beside_snapshot(Snapshot(2, 1), LogBase(3, 1), ())
