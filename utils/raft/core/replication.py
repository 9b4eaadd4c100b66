"""The leader's side of replication: what each follower is sent, what a majority holds (paper, 5.3, 5.4.2 and 7)."""

from collections.abc import Iterator, Sequence

from utils.raft.core.election import majority_of
from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Entry,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Snapshot,
)
from utils.raft.core.progress import Progress, ProgressState
from utils.raft.core.snapshots import SnapshotSource


class Replication:
    """A leader's volatile state of one term; made at its election and dropped when it steps down."""

    def __init__(self, node_id: str, voters: Sequence[str], term: int, log: RaftLog, limits: Limits) -> None:
        self._voters = voters
        self._term = term
        self._log = log
        self._limits = limits
        self._own_match_index = 0
        self._heartbeat_due = True
        self._peers = {voter: Progress(log.last_index + 1) for voter in voters if voter != node_id}
        self._source = SnapshotSource(limits.bytes_per_chunk)

    def make_heartbeat_due(self) -> None:
        self._heartbeat_due = True

    def persisted(self, index: int) -> None:
        """The leader's own disk has its entries of this term up to `index`."""
        self._own_match_index = max(self._own_match_index, index)

    def answered(self, peer: str, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        """`response` must be of this term. False if the peer has lost what it had acknowledged."""
        progress = self._peers[peer]
        has_forgotten = False
        progress.is_active = True
        match response:
            case AppendEntriesResponse(success=True):
                progress.accepted(response.match_index, self._log.base.index)
            case AppendEntriesResponse():
                has_forgotten = progress.has_forgotten(response)
                if has_forgotten:
                    progress.begin_anew(response.rejected_index)
                progress.rejected(response, self._log)
            case InstallSnapshotResponse(done=True):
                progress.accepted(response.last_included_index, self._log.base.index)
            case InstallSnapshotResponse():
                if response.last_included_index == progress.snapshot_index:
                    progress.received_chunks(response.offset)
        return not has_forgotten

    def take_majority_activity(self) -> bool:
        """Whether a majority, this node included, has answered since the last call (dissertation, section 6.2)."""
        active = 1 + sum(progress.take_activity() for progress in self._peers.values())
        return active >= majority_of(self._voters)

    def committed_index(self) -> int:
        """The highest index that may be committed now; possibly lower than what already is.

        Only an entry of the leader's own term is committed by counting, and those before it with it (paper, 5.4.2).
        """
        match_indexes = sorted(
            [self._own_match_index, *(peer.match_index for peer in self._peers.values())], reverse=True
        )
        index = match_indexes[majority_of(self._voters) - 1]
        return index if self._log.term_at(index) == self._term else 0

    def holds_all(self, peer: str) -> bool:
        return self._peers[peer].match_index == self._log.last_index

    def most_caught_up(self) -> str | None:
        """The voter that could take over soonest; None if none has answered lately."""
        active = [peer for peer, progress in self._peers.items() if progress.was_active_lately]
        return max(active, key=lambda peer: self._peers[peer].match_index, default=None)

    def compactable_index(self, index: int) -> int:
        """How far the log may forget, `index` at most: a follower that gets a snapshot needs what comes after it.

        Otherwise one that is slower than compaction would be sent one snapshot after the other. Who is away holds
        nothing up.
        """
        snapshot = self._source.snapshot
        is_needed = any(
            progress.state is ProgressState.SNAPSHOT and progress.was_active_lately for progress in self._peers.values()
        )
        return min(index, snapshot.last_included_index) if snapshot is not None and is_needed else index

    def take_snapshot_wish(self) -> bool:
        """Whether the owner should bring a snapshot, once."""
        is_needed = any(progress.state is ProgressState.SNAPSHOT for progress in self._peers.values())
        return is_needed and self._source.take_wish(self._log.base)

    def bring_snapshot(self, snapshot: Snapshot) -> None:
        self._source.bring(snapshot)

    def requests(self, read_id: int) -> Iterator[tuple[str, AppendEntriesRequest | InstallSnapshotRequest]]:
        """What to send now, to whom: all that flow control lets go, and heartbeats where they are due.

        A higher commit index alone is no reason to send: it travels with the next entries or heartbeat.
        """
        for peer, progress in self._peers.items():
            if progress.next_index <= self._log.base.index and progress.state is not ProgressState.SNAPSHOT:
                progress.begin_snapshot()
            is_told = False
            while progress.wants_entries(self._log.last_index, self._limits.messages_in_flight):
                entries = self._next_entries(progress.next_index)
                yield peer, self._request(progress, entries, read_id)
                progress.sent_entries(entries[-1].index)
                is_told = True
            if chunk := self._next_chunk(progress):
                yield peer, chunk
            if is_told:
                continue
            if self._heartbeat_due or progress.wants_probe() or progress.newest_read_sent < read_id:
                yield peer, self._request(progress, (), read_id)
        self._heartbeat_due = False
        if all(progress.state is not ProgressState.SNAPSHOT for progress in self._peers.values()):
            self._source.drop()

    def _next_entries(self, first_index: int) -> tuple[Entry, ...]:
        entries = self._log.entries_between(first_index, first_index + self._limits.entries_per_message - 1)
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data)
            if size > self._limits.bytes_per_message and count:
                return tuple(entries[:count])
        return tuple(entries)

    def _next_chunk(self, progress: Progress) -> InstallSnapshotRequest | None:
        snapshot = self._source.snapshot
        if progress.state is not ProgressState.SNAPSHOT or snapshot is None:
            return None
        if progress.snapshot_index != snapshot.last_included_index:
            progress.begin_chunks(snapshot.last_included_index)
        elif self._heartbeat_due:
            progress.repeat_chunk()
        if not progress.wants_chunk():
            return None
        progress.sent_chunk()
        return self._source.chunk(self._term, progress.snapshot_offset)

    def _request(self, progress: Progress, entries: tuple[Entry, ...], read_id: int) -> AppendEntriesRequest:
        # Whoever gets a snapshot hears heartbeats, too. They begin where all logs agree, and so prove nothing new.
        prev_log_index = 0 if progress.state is ProgressState.SNAPSHOT else progress.next_index - 1
        prev_log_term = self._log.term_at(prev_log_index) if prev_log_index else 0
        assert prev_log_term is not None
        progress.newest_read_sent = read_id
        return AppendEntriesRequest(
            term=self._term,
            prev_log_index=prev_log_index,
            prev_log_term=prev_log_term,
            entries=entries,
            leader_commit=self._log.commit_index,
            read_id=read_id,
            probe_id=0 if entries else progress.send_probe(),
        )
