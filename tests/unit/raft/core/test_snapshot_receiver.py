"""InstallSnapshot as a follower does it. Sections and figures are those of the Raft paper (extended version)."""

from tests.unit.raft.core.support import ELECTION_TICKS, Bench, entries_of
from utils.raft.core.messages import (
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    LogBase,
    Message,
    Snapshot,
)
from utils.raft.core.ready import Compaction, HardState, Role, SnapshotInstalled


def test_a_snapshot_takes_the_place_of_a_log_that_it_goes_beyond_figure_13() -> None:
    bench = Bench(term=2, log=entries_of(1, 1))
    bench.append(term=2, prev=(2, 1), commit=1)
    bench.core.step(Message("b", "a", InstallSnapshotRequest(2, 5, 2, b"", 0, b"state", done=True)))
    [ready] = bench.drain()
    assert ready.snapshot == Snapshot(5, 2, b"", b"state")
    assert ready.compaction == Compaction(LogBase(5, 2), ())
    assert ready.messages == (Message("a", "b", InstallSnapshotResponse(2, 5, 5, done=True)),)
    assert ready.early_messages == ()
    assert SnapshotInstalled(5, 2) in ready.events
    assert (bench.core.commit_index, bench.core.last_index) == (5, 5)
    bench.append(term=2, prev=(5, 2), entries=entries_of(2, first_index=6), commit=6)
    assert bench.committed == [*entries_of(1), *entries_of(2, first_index=6)]


def test_a_snapshot_takes_the_place_of_entries_that_contradict_it_figure_13() -> None:
    bench = Bench(term=2, log=entries_of(1, 1, 1, 1))
    assert bench.install(term=3, last=(3, 2), data=b"state").done
    assert (bench.core.last_index, bench.log) == (3, [])


def test_entries_after_a_snapshot_that_the_log_goes_on_from_stay_figure_13() -> None:
    """They may be acknowledged: a snapshot that races with appends must not undo them."""
    bench = Bench(term=1)
    bench.append(term=1, entries=entries_of(1, 1, 1, 1))
    assert bench.install(term=1, last=(2, 1), data=b"state") == InstallSnapshotResponse(1, 2, 5, done=True)
    assert (bench.core.commit_index, bench.core.last_index) == (2, 4)
    assert bench.committed == [*entries_of(1, 1)]
    assert bench.snapshot == Snapshot()


def test_an_older_snapshot_does_not_take_the_state_back_figure_13() -> None:
    bench = Bench(term=1)
    bench.append(term=1, entries=entries_of(1, 1, 1), commit=3)
    assert bench.install(term=1, last=(2, 1), data=b"sta", done=False).done
    assert bench.install(term=1, last=(2, 1), data=b"state").done
    assert bench.core.commit_index == 3
    assert bench.snapshot == Snapshot()


def test_chunks_are_put_together_in_order_figure_13() -> None:
    bench = Bench(term=1)
    assert bench.install(term=1, last=(5, 1), data=b"012", done=False) == InstallSnapshotResponse(1, 5, 3, done=False)
    # Repeated, and out of order: nothing changes, and the answer says what is missing.
    assert bench.install(term=1, last=(5, 1), data=b"012", done=False).offset == 3
    assert bench.install(term=1, last=(5, 1), offset=6, data=b"678").offset == 3
    assert bench.install(term=1, last=(5, 1), offset=3, data=b"345").done
    assert bench.snapshot == Snapshot(5, 1, b"", b"012345")


def test_a_newer_snapshot_begins_anew_and_an_older_one_is_forgotten_figure_13() -> None:
    bench = Bench(term=1)
    bench.install(term=1, last=(5, 1), data=b"012", done=False)
    assert bench.install(term=1, last=(7, 1), data=b"ab", done=False).offset == 2
    bench.install(term=1, last=(5, 1), offset=3, data=b"345")
    assert bench.install(term=1, last=(7, 1), offset=2, data=b"cd").done
    assert bench.snapshot == Snapshot(7, 1, b"", b"abcd")


def test_the_chunks_of_two_leaders_are_not_mixed_figure_13() -> None:
    bench = Bench(term=1)
    bench.install("b", term=1, last=(5, 1), data=b"012", done=False)
    assert bench.install("c", term=2, last=(5, 1), offset=3, data=b"345").offset == 0
    assert bench.snapshot == Snapshot()


def test_a_leader_of_an_older_term_installs_nothing_figure_13() -> None:
    bench = Bench(term=5)
    assert bench.install(term=4, last=(5, 4), data=b"state") == InstallSnapshotResponse(5, 0, 0, done=False)
    assert bench.core.last_index == 0
    assert bench.core.leader_id is None


def test_a_chunk_tells_who_leads_and_restarts_the_election_timeout_5_2() -> None:
    bench = Bench(term=1)
    bench.tick(ELECTION_TICKS - 1)
    bench.install(term=2, last=(5, 1), data=b"", done=False)
    assert (bench.core.leader_id, bench.hard_state) == ("b", HardState(2, "b"))
    assert bench.tick(ELECTION_TICKS - 1) == []
    assert bench.role() is Role.FOLLOWER
