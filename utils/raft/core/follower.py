"""The follower's side of log replication: what AppendEntries does to the log (paper, figure 2 and section 5.3)."""

from utils.raft.core.log import RaftLog
from utils.raft.core.messages import AppendEntriesRequest, AppendEntriesResponse, Entry


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
        )
        return rejection, None
    truncated = _merge(log, entries)
    # Not further than this request has verified: what follows in the log may be another leader's (figure 2, rule 5).
    log.commit_to(min(request.leader_commit, last_index))
    accepted = AppendEntriesResponse(term=request.term, success=True, match_index=last_index, read_id=request.read_id)
    return accepted, truncated


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
