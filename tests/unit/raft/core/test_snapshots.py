"""Compaction and InstallSnapshot. Sections and figures are those of the Raft paper (extended version)."""

import pytest

from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS, Bench, entries_of
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    LogBase,
    Message,
    RequestVoteRequest,
    Snapshot,
)
from utils.raft.core.ready import Compaction, HardState, Role, SnapshotInstalled
from utils.raft.core.snapshots import log_beside_snapshot

CHUNKS_OF_FOUR = Limits(bytes_per_chunk=4)
OF_FIVE = Snapshot(5, 1, b"", b"0123456789")


def leader_with_snapshot(*, limits: Limits = CHUNKS_OF_FOUR) -> Bench:
    """Leads "b" and "c" in term 1, has 8 committed entries and has forgotten the first 5."""
    bench = Bench(limits=limits)
    bench.lead_ready()
    bench.commit_commands(7)
    bench.core.compact(5)
    bench.drain()
    return bench


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


# The log


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


# Whoever sends it


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


def test_the_log_waits_for_a_follower_that_gets_a_snapshot() -> None:
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


# Whoever gets it


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
    assert (bench.core.leader_id, bench.hard_state) == ("b", HardState(2))
    assert bench.tick(ELECTION_TICKS - 1) == []
    assert bench.role() is Role.FOLLOWER


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
