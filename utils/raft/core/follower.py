"""The follower's side of replication: what AppendEntries and InstallSnapshot do to the log (paper, 5.3 and 7)."""

from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Entry,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Snapshot,
)
from utils.raft.core.ready import HardState, LogTruncated, Role, SnapshotInstalled
from utils.raft.core.snapshots import SnapshotAssembly
from utils.raft.core.state import NodeState


class Following:
    """Obeys the leader of the current term."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._assembly = SnapshotAssembly()
        self._installed: Snapshot | None = None

    def append_entries(self, sender: str, request: AppendEntriesRequest) -> None:
        state = self._state
        if request.term < state.current_term:
            # A deposed leader learns from the term in the answer; so does one that this node's own campaign overtook.
            state.send(sender, AppendEntriesResponse(state.current_term, success=False))
            return
        self._hear(sender, request.term)
        response, truncated = append_entries(state.log, request)
        if truncated is not None:
            first_index, last_index = truncated
            state.events.append(LogTruncated(first_index=first_index, last_index=last_index, term=state.current_term))
        state.send(sender, response)

    def install_snapshot(self, sender: str, request: InstallSnapshotRequest) -> None:
        state = self._state
        if request.term < state.current_term:
            state.send(sender, InstallSnapshotResponse(state.current_term, 0, 0, done=False))
            return
        self._hear(sender, request.term)
        response, snapshot = install_snapshot(state.log, self._assembly, request)
        if snapshot is not None:
            self._installed = snapshot
            event = SnapshotInstalled(
                last_included_index=snapshot.last_included_index, last_included_term=snapshot.last_included_term
            )
            state.events.append(event)
        state.send(sender, response)

    def take_snapshot(self) -> Snapshot | None:
        """The one that was installed last, once."""
        snapshot, self._installed = self._installed, None
        return snapshot

    def _hear(self, leader: str, term: int) -> None:
        state = self._state
        assert state.role is not Role.LEADER, f"{leader} also leads in term {term}"
        if state.role is not Role.FOLLOWER or state.leader_id != leader:
            state.become_follower(term, leader, "heard of a leader")
        if state.hard_state.voted_for is None:
            # Nobody needs it now; and a node that lost its disk may have given it away already (io/joining.py).
            state.hard_state = HardState(term, leader)
        state.timer.restart()


def append_entries(log: RaftLog, request: AppendEntriesRequest) -> tuple[AppendEntriesResponse, tuple[int, int] | None]:
    """Carries out a request of the current term's leader.

    Returns the answer, which may leave once the log is durable, and the first and last index of what was truncated.
    """
    prev_log_index, prev_log_term, entries = request.prev_log_index, request.prev_log_term, request.entries
    last_index = prev_log_index + len(entries)
    if prev_log_index < log.commit_index:
        # Late or repeated. What is committed here is in the leader's log too (leader completeness): start after it.
        entries = entries[log.commit_index - prev_log_index :]
        prev_log_index, prev_log_term = log.commit_index, _committed_term(log)
        last_index = max(last_index, log.commit_index)
    if log.term_at(prev_log_index) != prev_log_term:
        conflict_index, conflict_term = log.conflict_hint(prev_log_index)
        rejection = AppendEntriesResponse(
            term=request.term,
            success=False,
            conflict_index=conflict_index,
            conflict_term=conflict_term,
            read_id=request.read_id,
            rejected_index=prev_log_index,
            probe_id=request.probe_id,
        )
        return rejection, None
    truncated = _merge(log, entries)
    # Not further than this request has verified: what follows in the log may be another leader's (figure 2, rule 5).
    log.commit_to(min(request.leader_commit, last_index))
    accepted = AppendEntriesResponse(
        term=request.term,
        success=True,
        match_index=last_index,
        read_id=request.read_id,
        probe_id=request.probe_id,
    )
    return accepted, truncated


def install_snapshot(
    log: RaftLog, assembly: SnapshotAssembly, request: InstallSnapshotRequest
) -> tuple[InstallSnapshotResponse, Snapshot | None]:
    """Carries out a request of the current term's leader.

    Returns the answer, which may leave once all is durable, and the snapshot if one has taken the place of the log.
    """
    index, term = request.last_included_index, request.last_included_term
    snapshot = None
    is_held = index <= log.commit_index or log.term_at(index) == term
    if is_held:
        # All that it covers is here, and what follows here may be acknowledged: it must stay (figure 13, rule 6).
        assembly.clear()
        log.commit_to(index)
    else:
        snapshot = assembly.take(request)
        if snapshot is not None:
            log.replace_by(snapshot)
    is_done = is_held or snapshot is not None
    offset = request.offset + len(request.data) if is_done else assembly.offset
    return InstallSnapshotResponse(request.term, index, offset, done=is_done), snapshot


def _merge(log: RaftLog, entries: tuple[Entry, ...]) -> tuple[int, int] | None:
    """Only a real conflict truncates: a late message must not undo a longer, acknowledged log."""
    new_index = log.first_conflict(entries)
    if new_index is None:
        return None
    truncated = None
    if new_index <= log.last_index:
        truncated = new_index, log.last_index
        log.truncate_from(new_index)
    log.append(entries[new_index - entries[0].index :])
    return truncated


def _committed_term(log: RaftLog) -> int:
    term = log.term_at(log.commit_index)
    assert term is not None
    return term
