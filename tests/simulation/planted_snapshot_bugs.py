"""As planted_bugs.py: those of compaction, snapshots and leadership transfer.

Some of them show only where several rare things meet. They are found by the case that was written for them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tests.simulation.planted_bugs import PlantedBug
from tests.unit.raft.core import test_compaction, test_snapshot_receiver, test_snapshot_sender
from utils.raft.core import follower
from utils.raft.core.campaign import Campaign
from utils.raft.core.leader import Leadership
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    Entry,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    LogBase,
    Snapshot,
    TimeoutNowRequest,
)
from utils.raft.core.progress import Progress
from utils.raft.core.snapshots import SnapshotAssembly


def restarts_its_log_at_every_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Also when the log goes on from it: what follows may be acknowledged."""

    def install(log: RaftLog, assembly: SnapshotAssembly, request: InstallSnapshotRequest) -> Any:
        index = request.last_included_index
        snapshot = assembly.take(request) if index > log.commit_index else None
        if snapshot is not None:
            log.replace_by(snapshot)
        done = snapshot is not None or index <= log.commit_index
        return InstallSnapshotResponse(request.term, index, assembly.offset, done=done), snapshot

    patch.setattr(follower, "install_snapshot", install)


def keeps_entries_that_contradict_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    def replace_by(log: RaftLog, snapshot: Snapshot) -> None:
        index = snapshot.last_included_index
        following = log.entries_between(index + 1, log.last_index) if index < log.last_index else []
        replace(log, snapshot)
        log.append(following)

    replace = RaftLog.replace_by
    patch.setattr(RaftLog, "replace_by", replace_by)


def goes_back_to_an_older_snapshot(patch: pytest.MonkeyPatch) -> None:
    def install(log: RaftLog, assembly: SnapshotAssembly, request: InstallSnapshotRequest) -> Any:
        index = request.last_included_index
        snapshot = assembly.take(request)
        if snapshot is not None:
            log.commit_index = min(log.commit_index, index - 1)
            log.replace_by(snapshot)
        return InstallSnapshotResponse(request.term, index, assembly.offset, done=snapshot is not None), snapshot

    patch.setattr(follower, "install_snapshot", install)


def puts_chunks_of_two_snapshots_together(patch: pytest.MonkeyPatch) -> None:
    def take(assembly: SnapshotAssembly, chunk: InstallSnapshotRequest) -> Snapshot | None:
        assembly._identity = (chunk.term, chunk.last_included_index, chunk.last_included_term)
        return original(assembly, chunk)

    original = SnapshotAssembly.take
    patch.setattr(SnapshotAssembly, "take", take)


def takes_chunks_in_any_order(patch: pytest.MonkeyPatch) -> None:
    def take(assembly: SnapshotAssembly, chunk: InstallSnapshotRequest) -> Snapshot | None:
        return original(assembly, msgspec.structs.replace(chunk, offset=len(assembly._data)))

    original = SnapshotAssembly.take
    patch.setattr(SnapshotAssembly, "take", take)


def takes_a_sent_snapshot_for_an_installed_one(patch: pytest.MonkeyPatch) -> None:
    def sent_chunk(progress: Progress) -> None:
        original(progress)
        progress.match_index = max(progress.match_index, progress.snapshot_index)

    original = Progress.sent_chunk
    patch.setattr(Progress, "sent_chunk", sent_chunk)


def keeps_the_log_that_a_snapshot_made_obsolete(patch: pytest.MonkeyPatch) -> None:
    """After a power cut between the two."""

    def log_beside_snapshot(snapshot: Snapshot, base: LogBase, entries: Sequence[Entry]) -> Any:
        index = snapshot.last_included_index
        kept = tuple(entry for entry in entries if entry.index > index)
        return (LogBase(index, snapshot.last_included_term), kept) if base.index < index else None

    patch.setattr("tests.simulation.disk.log_beside_snapshot", log_beside_snapshot)
    patch.setattr(test_compaction, "log_beside_snapshot", log_beside_snapshot)


def never_repeats_a_lost_chunk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Progress, "repeat_chunk", lambda _: None)


def forgets_the_term_of_the_last_entry_it_compacted(patch: pytest.MonkeyPatch) -> None:
    def compact(log: RaftLog, index: int) -> None:
        original(log, index)
        log.base = LogBase(log.base.index, 0)

    original = RaftLog.compact
    patch.setattr(RaftLog, "compact", compact)


def compacts_away_what_a_follower_waits_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leadership, "compactable_index", lambda _, index: index)


def takes_proposals_while_it_hands_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leadership, "is_handing_over", property(lambda _: False))


def never_hands_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leadership, "hand_over", lambda *_: "node_1")


def hands_over_without_a_new_term(patch: pytest.MonkeyPatch) -> None:
    def take_over(campaign: Campaign, sender: str, request: TimeoutNowRequest) -> bool:
        return request.term == campaign._state.current_term

    patch.setattr(Campaign, "take_over", take_over)


PLANTED_SNAPSHOT_BUGS: tuple[PlantedBug, ...] = (
    keeps_entries_that_contradict_a_snapshot,
    goes_back_to_an_older_snapshot,
    puts_chunks_of_two_snapshots_together,
    takes_chunks_in_any_order,
    never_repeats_a_lost_chunk,
    takes_proposals_while_it_hands_over,
    never_hands_over,
    hands_over_without_a_new_term,
)

# Each with the case that finds it.
RARE_SNAPSHOT_BUGS: tuple[tuple[PlantedBug, Callable[[], None]], ...] = (
    (
        restarts_its_log_at_every_snapshot,
        test_snapshot_receiver.test_entries_after_a_snapshot_that_the_log_goes_on_from_stay_figure_13,
    ),
    (
        takes_a_sent_snapshot_for_an_installed_one,
        test_snapshot_sender.test_a_snapshot_that_was_sent_is_not_taken_for_installed_5_3,
    ),
    (
        keeps_the_log_that_a_snapshot_made_obsolete,
        test_compaction.test_the_log_of_a_deposed_leader_does_not_outlive_a_snapshot,
    ),
    (forgets_the_term_of_the_last_entry_it_compacted, test_compaction.test_a_compacted_log_goes_on_from_its_base_7),
    (
        compacts_away_what_a_follower_waits_for,
        test_snapshot_sender.test_the_log_waits_for_whoever_gets_a_snapshot,
    ),
)
