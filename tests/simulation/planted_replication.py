"""Small wrong changes to replication, commitment, compaction and snapshots. See planting.py."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.simulation.planting import PlantedBug
from tests.unit.raft.core import test_compaction
from utils.raft.core import follower
from utils.raft.core.core import RaftCore
from utils.raft.core.follower import Following
from utils.raft.core.leader import Leadership
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    LogBase,
    Snapshot,
)
from utils.raft.core.progress import Progress
from utils.raft.core.ready import Ready, Role
from utils.raft.core.replication import Replication
from utils.raft.core.rules import Rules
from utils.raft.core.snapshots import SnapshotAssembly

_LEADER = "tests/unit/raft/core/test_leader.py::test_"
_FOLLOWER = "tests/unit/raft/core/test_follower.py::test_"
_RECEIVER = "tests/unit/raft/core/test_snapshot_receiver.py::test_"
_SENDER = "tests/unit/raft/core/test_snapshot_sender.py::test_"
_ACCIDENTS = "tests/scenarios/test_accidents.py::test_"
_COMPACTION = "tests/unit/raft/core/test_compaction.py::test_"


def acknowledges_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """What a majority has acknowledged is lost with the power."""
    take_ready = RaftCore.ready
    acknowledgements = (AppendEntriesResponse, InstallSnapshotResponse)

    def ready(core: RaftCore) -> Ready | None:
        taken = take_ready(core)
        if taken is None:
            return None
        early = tuple(message for message in taken.messages if isinstance(message.body, acknowledgements))
        late = tuple(message for message in taken.messages if not isinstance(message.body, acknowledgements))
        return msgspec.structs.replace(taken, early_messages=taken.early_messages + early, messages=late)

    patch.setattr(RaftCore, "ready", ready)


def counts_its_own_entries_before_they_are_durable(patch: pytest.MonkeyPatch) -> None:
    """A commit that less than a majority of disks holds."""
    append = Leadership.append

    def append_and_count(leadership: Leadership, kind: EntryKind, data: Sequence[bytes]) -> range:
        indexes = append(leadership, kind, data)
        leadership.persisted(indexes[-1])
        return indexes

    patch.setattr(Leadership, "append", append_and_count)


def commits_all_that_its_log_holds(patch: pytest.MonkeyPatch) -> None:
    """len(log) is counted, and not what a majority has: thousands of random seeds have missed it."""
    patch.setattr(Replication, "committed_index", lambda self: self._log.last_index)


def commits_entries_of_older_terms_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Figure 8 of the paper: a committed entry is overwritten."""

    def committed_index(self: Replication) -> int:
        matches = sorted((self.match_index(voter) for voter in self._voters), reverse=True)
        return matches[len(matches) // 2]

    patch.setattr(Replication, "committed_index", committed_index)


def commits_what_the_fastest_follower_has(patch: pytest.MonkeyPatch) -> None:
    """An entry on two of five disks is told as committed."""

    def committed_index(self: Replication) -> int:
        index = sorted((self.match_index(voter) for voter in self._voters), reverse=True)[1]
        return index if self._log.term_at(index) == self._term else 0

    patch.setattr(Replication, "committed_index", committed_index)


def commits_beyond_what_the_leader_verified(patch: pytest.MonkeyPatch) -> None:
    """A follower commits the entries of a deposed leader that lie behind the verified ones."""
    append_entries = follower.append_entries

    def eager(log: RaftLog, request: AppendEntriesRequest) -> Any:
        result = append_entries(log, request)
        if result[0].success:
            log.commit_to(min(request.leader_commit, log.last_index))
        return result

    patch.setattr(follower, "append_entries", eager)


def acknowledges_beyond_what_the_leader_verified(patch: pytest.MonkeyPatch) -> None:
    """The leader counts entries that are another's."""
    append_entries = follower.append_entries

    def boastful(log: RaftLog, request: AppendEntriesRequest) -> Any:
        response, truncated = append_entries(log, request)
        if response.success:
            response = msgspec.structs.replace(response, match_index=log.last_index)
        return response, truncated

    patch.setattr(follower, "append_entries", boastful)


def truncates_without_a_conflict(patch: pytest.MonkeyPatch) -> None:
    """A late message takes acknowledged entries away."""

    def first_conflict(_: RaftLog, entries: tuple[Entry, ...]) -> int | None:
        return entries[0].index if entries else None

    patch.setattr(RaftLog, "first_conflict", first_conflict)


def accepts_entries_without_looking_at_the_one_before(patch: pytest.MonkeyPatch) -> None:
    """Two logs with the same last entry, and different ones before it."""
    append_entries = follower.append_entries

    def credulous(log: RaftLog, request: AppendEntriesRequest) -> Any:
        term = log.term_at(request.prev_log_index)
        if term is not None:
            request = msgspec.structs.replace(request, prev_log_term=term)
        return append_entries(log, request)

    patch.setattr(follower, "append_entries", credulous)


def takes_what_was_sent_for_what_matches(patch: pytest.MonkeyPatch) -> None:
    """Entries count as held by followers that never got them."""
    sent_entries = Progress.sent_entries

    def optimistic(progress: Progress, last_index: int) -> None:
        sent_entries(progress, last_index)
        progress.match_index = last_index

    patch.setattr(Progress, "sent_entries", optimistic)


def lets_match_indexes_go_back(patch: pytest.MonkeyPatch) -> None:
    """An old answer, delivered late, un-proves what was proven: a commit may hang, or an entry be sent for ever."""
    accepted = Progress.accepted

    def forgetful(progress: Progress, match_index: int, base_index: int) -> None:
        accepted(progress, match_index, base_index)
        progress.match_index = match_index

    patch.setattr(Progress, "accepted", forgetful)


def obeys_leaders_of_older_terms(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader goes on writing."""
    answer = Following.append_entries

    def obedient(self: Following, sender: str, request: AppendEntriesRequest) -> None:
        state = self._state
        if request.term < state.current_term and state.role is Role.FOLLOWER:
            follower.append_entries(state.log, request)
            state.send(sender, AppendEntriesResponse(request.term, success=True, match_index=state.log.last_index))
            return
        answer(self, sender, request)

    patch.setattr(Following, "append_entries", obedient)


def counts_answers_of_older_terms(patch: pytest.MonkeyPatch) -> None:
    """What a follower held in another term is taken for what it holds in this one."""
    step = Rules._step_in_its_term

    def credulous(rules: Rules, sender: str, body: Any) -> None:
        leadership = rules._state.leadership
        if isinstance(body, AppendEntriesResponse) and leadership is not None:
            body = msgspec.structs.replace(body, term=leadership.term)
        step(rules, sender, body)

    patch.setattr(Rules, "_step_in_its_term", credulous)


def never_sends_again_what_was_lost(patch: pytest.MonkeyPatch) -> None:
    """A follower that missed one message stays behind for ever."""
    patch.setattr(Progress, "rejected", lambda *_: None)


def sends_without_bound(patch: pytest.MonkeyPatch) -> None:
    """A follower that is away fills the memory of the leader."""
    patch.setattr(Progress, "wants_entries", lambda progress, last_index, _: progress.next_index <= last_index)


def forgets_to_append_a_no_op(patch: pytest.MonkeyPatch) -> None:
    """What earlier leaders left is not committed before the next proposal, and reads wait as long."""
    original = Leadership.append

    def append(leadership: Leadership, kind: EntryKind, data: Sequence[bytes]) -> range:
        return range(0) if kind is EntryKind.NO_OP else original(leadership, kind, data)

    patch.setattr(Leadership, "append", append)


def restarts_its_log_at_every_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Also when the log goes on from it: acknowledged entries are lost (figure 13, rule 6)."""

    def install(log: RaftLog, assembly: SnapshotAssembly, request: InstallSnapshotRequest) -> Any:
        index = request.last_included_index
        snapshot = assembly.take(request) if index > log.commit_index else None
        if snapshot is not None:
            log.replace_by(snapshot)
        done = snapshot is not None or index <= log.commit_index
        return InstallSnapshotResponse(request.term, index, assembly.offset, done=done), snapshot

    patch.setattr(follower, "install_snapshot", install)


def keeps_entries_that_contradict_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Entries of a deposed leader follow the snapshot of another."""

    def replace_by(log: RaftLog, snapshot: Snapshot) -> None:
        index = snapshot.last_included_index
        following = log.entries_between(index + 1, log.last_index) if index < log.last_index else []
        replace(log, snapshot)
        log.append(following)

    replace = RaftLog.replace_by
    patch.setattr(RaftLog, "replace_by", replace_by)


def goes_back_to_an_older_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The state machine forgets what it has applied."""

    def install(log: RaftLog, assembly: SnapshotAssembly, request: InstallSnapshotRequest) -> Any:
        index = request.last_included_index
        snapshot = assembly.take(request)
        if snapshot is not None:
            log.commit_index = min(log.commit_index, index - 1)
            log.replace_by(snapshot)
        return InstallSnapshotResponse(request.term, index, assembly.offset, done=snapshot is not None), snapshot

    patch.setattr(follower, "install_snapshot", install)


def puts_chunks_of_two_snapshots_together(patch: pytest.MonkeyPatch) -> None:
    """A state that nobody was ever in."""

    def take(assembly: SnapshotAssembly, chunk: InstallSnapshotRequest) -> Snapshot | None:
        assembly._identity = (chunk.term, chunk.last_included_index, chunk.last_included_term)
        return original(assembly, chunk)

    original = SnapshotAssembly.take
    patch.setattr(SnapshotAssembly, "take", take)


def takes_chunks_in_any_order(patch: pytest.MonkeyPatch) -> None:
    """A state that nobody was ever in."""

    def take(assembly: SnapshotAssembly, chunk: InstallSnapshotRequest) -> Snapshot | None:
        return original(assembly, msgspec.structs.replace(chunk, offset=len(assembly._data)))

    original = SnapshotAssembly.take
    patch.setattr(SnapshotAssembly, "take", take)


def takes_a_sent_snapshot_for_an_installed_one(patch: pytest.MonkeyPatch) -> None:
    """Entries count as held by a follower that has not got them."""

    def sent_chunk(progress: Progress) -> None:
        original(progress)
        progress.match_index = max(progress.match_index, progress.snapshot_index)

    original = Progress.sent_chunk
    patch.setattr(Progress, "sent_chunk", sent_chunk)


def keeps_the_log_that_a_snapshot_made_obsolete(patch: pytest.MonkeyPatch) -> None:
    """After a power cut between the two, entries of a deposed leader follow the snapshot."""

    def log_beside_snapshot(snapshot: Snapshot, base: LogBase, entries: Sequence[Entry]) -> Any:
        index = snapshot.last_included_index
        kept = tuple(entry for entry in entries if entry.index > index)
        return (LogBase(index, snapshot.last_included_term), kept) if base.index < index else None

    patch.setattr("utils.raft.io.storage.log_beside_snapshot", log_beside_snapshot)
    patch.setattr(test_compaction, "log_beside_snapshot", log_beside_snapshot)


def never_repeats_a_lost_chunk(patch: pytest.MonkeyPatch) -> None:
    """One lost message, and a follower never gets its snapshot."""
    patch.setattr(Progress, "repeat_chunk", lambda _: None)


def forgets_the_term_of_the_last_entry_it_compacted(patch: pytest.MonkeyPatch) -> None:
    """Whoever has just compacted loses elections, or wins those that it should lose."""

    def compact(log: RaftLog, index: int) -> None:
        original(log, index)
        log.base = LogBase(log.base.index, 0)

    original = RaftLog.compact
    patch.setattr(RaftLog, "compact", compact)


def compacts_away_what_a_follower_waits_for(patch: pytest.MonkeyPatch) -> None:
    """A follower slower than compaction is sent one snapshot after the other, for ever."""
    patch.setattr(Leadership, "compactable_index", lambda _, index: index)


BUGS = (
    PlantedBug(
        acknowledges_before_it_is_durable,
        f"{_FOLLOWER}a_follower_answers_only_after_entries_and_term_are_durable_figure_2",
    ),
    PlantedBug(
        counts_its_own_entries_before_they_are_durable,
        f"{_LEADER}the_leaders_own_disk_counts_only_once_it_has_the_entry_d_10_2_1",
    ),
    PlantedBug(commits_all_that_its_log_holds, f"{_LEADER}an_entry_is_committed_once_a_majority_holds_it_5_3"),
    PlantedBug(
        commits_entries_of_older_terms_by_counting,
        f"{_LEADER}an_entry_of_an_older_term_is_not_committed_by_counting_5_4_2_figure_8",
    ),
    PlantedBug(commits_what_the_fastest_follower_has, f"{_LEADER}an_entry_is_committed_once_a_majority_holds_it_5_3"),
    PlantedBug(
        commits_beyond_what_the_leader_verified,
        f"{_FOLLOWER}commit_goes_no_further_than_what_the_request_verified_figure_2",
    ),
    PlantedBug(
        acknowledges_beyond_what_the_leader_verified,
        f"{_FOLLOWER}only_what_the_request_verified_is_acknowledged_figure_2",
    ),
    PlantedBug(
        truncates_without_a_conflict, f"{_FOLLOWER}a_late_or_repeated_request_does_not_shorten_the_log_figure_2"
    ),
    PlantedBug(
        accepts_entries_without_looking_at_the_one_before,
        f"{_FOLLOWER}a_follower_without_the_entry_before_refuses_and_says_where_to_look_5_3",
    ),
    PlantedBug(takes_what_was_sent_for_what_matches, f"{_LEADER}an_entry_is_committed_once_a_majority_holds_it_5_3"),
    PlantedBug(lets_match_indexes_go_back, f"{_ACCIDENTS}an_old_answer_takes_no_match_index_back_5_3"),
    PlantedBug(
        obeys_leaders_of_older_terms,
        f"{_FOLLOWER}a_follower_refuses_a_leader_of_an_older_term_and_tells_it_the_current_one_5_1",
    ),
    PlantedBug(counts_answers_of_older_terms, f"{_ACCIDENTS}answers_of_an_older_term_count_for_nothing_5_1"),
    PlantedBug(never_sends_again_what_was_lost, f"{_ACCIDENTS}what_the_network_lost_arrives_in_the_end_5_3"),
    PlantedBug(sends_without_bound, f"{_LEADER}a_follower_that_does_not_answer_is_not_flooded"),
    PlantedBug(forgets_to_append_a_no_op, f"{_LEADER}a_new_leader_appends_a_no_op_8"),
    PlantedBug(
        restarts_its_log_at_every_snapshot,
        f"{_RECEIVER}entries_after_a_snapshot_that_the_log_goes_on_from_stay_figure_13",
    ),
    PlantedBug(
        keeps_entries_that_contradict_a_snapshot,
        f"{_RECEIVER}a_snapshot_takes_the_place_of_entries_that_contradict_it_figure_13",
    ),
    PlantedBug(goes_back_to_an_older_snapshot, f"{_RECEIVER}an_older_snapshot_does_not_take_the_state_back_figure_13"),
    PlantedBug(puts_chunks_of_two_snapshots_together, f"{_RECEIVER}the_chunks_of_two_leaders_are_not_mixed_figure_13"),
    PlantedBug(takes_chunks_in_any_order, f"{_RECEIVER}chunks_are_put_together_in_order_figure_13"),
    PlantedBug(
        takes_a_sent_snapshot_for_an_installed_one, f"{_SENDER}a_snapshot_that_was_sent_is_not_taken_for_installed_5_3"
    ),
    PlantedBug(
        keeps_the_log_that_a_snapshot_made_obsolete,
        f"{_COMPACTION}the_log_of_a_deposed_leader_does_not_outlive_a_snapshot",
    ),
    PlantedBug(never_repeats_a_lost_chunk, f"{_ACCIDENTS}a_snapshot_of_which_a_part_was_lost_arrives_in_the_end_7"),
    PlantedBug(
        forgets_the_term_of_the_last_entry_it_compacted, f"{_COMPACTION}a_compacted_log_goes_on_from_its_base_7"
    ),
    PlantedBug(compacts_away_what_a_follower_waits_for, f"{_SENDER}the_log_waits_for_whoever_gets_a_snapshot"),
)
