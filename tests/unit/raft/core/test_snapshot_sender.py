"""InstallSnapshot as a leader does it. Sections and figures are those of the Raft paper (extended version)."""

from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS, Bench, entries_of
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Message,
    Snapshot,
)

CHUNKS_OF_FOUR = Limits(bytes_per_chunk=4)
OF_FIVE = Snapshot(5, 1, b"", b"0123456789")


def leader_of_a_new_node(*, limits: Limits = CHUNKS_OF_FOUR) -> Bench:
    """As before, elected again; "c" turns out to have nothing, and the snapshot is there."""
    bench = Bench(limits=limits, term=1, snapshot=OF_FIVE, log=entries_of(1, 1, 1, first_index=6))
    bench.campaign_and_win()
    bench.accept("b", 9)
    bench.reject("c", rejected_index=8, conflict_index=1)
    bench.core.bring_snapshot(OF_FIVE)
    bench.drain()
    return bench


def chunk(bench: Bench) -> InstallSnapshotRequest:
    """The one that was sent to "c" last."""
    return bench.sent_to("c", InstallSnapshotRequest)[-1]


def got(bench: Bench, offset: int, *, done: bool = False, index: int = 5) -> list[Message]:
    return bench.receive("c", InstallSnapshotResponse(bench.core.current_term, index, offset, done=done))


def test_a_follower_that_needs_forgotten_entries_gets_a_snapshot_7() -> None:
    bench = leader_of_a_new_node()
    assert bench.needs_snapshot
    assert chunk(bench) == InstallSnapshotRequest(2, 5, 1, b"", 0, b"0123", done=False)


def test_the_snapshot_is_asked_for_once() -> None:
    bench = Bench(term=1, snapshot=OF_FIVE, log=entries_of(1, first_index=6))
    bench.campaign_and_win()
    bench.reject("c", rejected_index=6, conflict_index=1)
    assert bench.needs_snapshot
    bench.needs_snapshot = False
    bench.tick(3 * HEARTBEAT_TICKS)
    bench.reject("b", rejected_index=6, conflict_index=1)
    assert not bench.needs_snapshot


def test_chunks_follow_one_another_as_they_are_acknowledged_figure_13() -> None:
    bench = leader_of_a_new_node()
    got(bench, 4)
    assert (chunk(bench).offset, chunk(bench).data, chunk(bench).done) == (4, b"4567", False)
    got(bench, 8)
    assert (chunk(bench).offset, chunk(bench).data, chunk(bench).done) == (8, b"89", True)
    got(bench, 10, done=True)
    [request] = bench.sent_to("c", AppendEntriesRequest)
    assert request.prev_log_index == 5
    assert [entry.index for entry in request.entries] == [6, 7, 8, 9]


def test_a_lost_chunk_is_sent_again_with_the_next_heartbeat() -> None:
    bench = leader_of_a_new_node()
    got(bench, 4)
    for _ in range(2):
        bench.tick(HEARTBEAT_TICKS)
        assert chunk(bench).offset == 4


def test_a_repeated_acknowledgement_sends_nothing() -> None:
    bench = leader_of_a_new_node()
    got(bench, 4)
    assert got(bench, 4) == []


def test_a_follower_that_has_lost_the_beginning_gets_it_again() -> None:
    bench = leader_of_a_new_node()
    got(bench, 8)
    got(bench, 0)
    assert chunk(bench).offset == 0


def test_acknowledgements_of_another_snapshot_are_ignored() -> None:
    bench = leader_of_a_new_node()
    assert got(bench, 8, index=4) == []


def test_a_snapshot_that_was_sent_is_not_taken_for_installed_5_3() -> None:
    bench = leader_of_a_new_node()
    got(bench, 4)
    got(bench, 8)
    bench.accept("c", 0)
    assert bench.sent_to("c", AppendEntriesRequest) == []
    bench.tick(HEARTBEAT_TICKS)
    assert [request.entries for request in bench.sent_to("c", AppendEntriesRequest)] == [()]


def test_whoever_gets_a_snapshot_hears_heartbeats_and_confirms_reads() -> None:
    bench = leader_of_a_new_node()
    bench.tick(HEARTBEAT_TICKS)
    [heartbeat] = bench.sent_to("c", AppendEntriesRequest)
    assert (heartbeat.prev_log_index, heartbeat.prev_log_term) == (0, 0)
    bench.core.request_read()
    bench.drain()
    [question] = bench.sent_to("c", AppendEntriesRequest)
    assert question.read_id == 1
    bench.accept("c", 0, read_id=1)
    assert bench.confirmed_reads == [(1, 9)]


def test_a_late_rejection_does_not_disturb_a_snapshot() -> None:
    bench = leader_of_a_new_node()
    got(bench, 4)
    bench.reject("c", rejected_index=8, conflict_index=1)
    assert bench.sent == []
    got(bench, 8)
    assert chunk(bench).offset == 8


def test_a_follower_that_has_caught_up_by_itself_needs_no_snapshot_any_more() -> None:
    bench = leader_of_a_new_node()
    bench.accept("c", 6)
    [request] = bench.sent_to("c", AppendEntriesRequest)
    assert [entry.index for entry in request.entries] == [7, 8, 9]


def test_the_log_waits_for_whoever_gets_a_snapshot() -> None:
    """Otherwise one that is slower than compaction would get one snapshot after the other."""
    bench = leader_of_a_new_node()
    bench.accept("b", 9)
    bench.core.applied(9)
    bench.core.compact(8)
    bench.drain()
    assert bench.base.index == 5
    got(bench, 10, done=True)
    [request] = bench.sent_to("c", AppendEntriesRequest)
    assert request.prev_log_index == 5
    bench.core.compact(8)
    bench.drain()
    assert bench.base.index == 8


def test_the_log_does_not_wait_for_whoever_is_away() -> None:
    bench = leader_of_a_new_node()
    for _ in range(3):
        bench.tick(ELECTION_TICKS)
        bench.accept("b", 9)
    bench.core.applied(9)
    bench.core.compact(8)
    bench.drain()
    assert bench.base.index == 8
    # What it was sent has become useless.
    assert bench.needs_snapshot
    newer = Snapshot(8, 1, b"", b"abcdef")
    bench.core.bring_snapshot(newer)
    bench.drain()
    assert (chunk(bench).last_included_index, chunk(bench).offset) == (8, 0)


def test_compaction_overtakes_a_follower_that_lags_7() -> None:
    bench = Bench(limits=Limits(entries_per_message=1, messages_in_flight=1))
    bench.lead_ready()
    bench.core.propose([b"x"] * 5)
    bench.drain()
    for index in range(2, 7):
        bench.accept("b", index)
    bench.core.applied(6)
    bench.core.compact(6)
    bench.needs_snapshot = False
    bench.drain()
    assert bench.needs_snapshot


def test_an_empty_snapshot_is_one_chunk() -> None:
    bench = leader_of_a_new_node()
    bench.core.bring_snapshot(Snapshot(6, 1, b"", b""))
    bench.drain()
    assert (chunk(bench).last_included_index, chunk(bench).data, chunk(bench).done) == (6, b"", True)


def test_answers_of_an_older_term_count_for_nothing() -> None:
    bench = leader_of_a_new_node()
    bench.receive("c", InstallSnapshotResponse(1, 5, 10, done=True))
    bench.receive("c", AppendEntriesResponse(1, success=True, match_index=9))
    assert bench.sent == []
    bench.tick(HEARTBEAT_TICKS)
    assert chunk(bench).offset == 0
