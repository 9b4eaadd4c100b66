"""The leader's side of replication: what each follower is sent, what a majority holds (paper, 5.3, 5.4.2 and 7)."""

from collections.abc import Iterator

from utils.raft.core.catch_up import CatchUp
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

    def __init__(self, node_id: str, term: int, log: RaftLog, limits: Limits, election_ticks: int) -> None:
        self._node_id = node_id
        self._term = term
        self._log = log
        self._limits = limits
        self._election_ticks = election_ticks
        self._own_match_index = 0
        self._heartbeat_due = True
        self._peers: dict[str, Progress] = {}
        self._catch_ups: dict[str, CatchUp] = {}
        # Nodes that were removed, and the entry that says so: they are sent it, so that they do not campaign.
        self._departing: dict[str, int] = {}
        self._source = SnapshotSource(limits.bytes_per_chunk)
        self.follow_configuration()

    @property
    def _voters(self) -> dict[str, str]:
        return self._log.configuration.voters

    def follow_configuration(self) -> None:
        """The newest one in the log says who is sent entries, and who counts."""
        configuration = self._log.configuration
        members = configuration.members
        for node_id in members:
            # One that was removed and comes again may have nothing of what it had.
            is_new = node_id not in self._peers or self._departing.pop(node_id, None) is not None
            if is_new and node_id != self._node_id:
                self._peers[node_id] = Progress(self._log.last_index + 1)
        for node_id in self._peers:
            if node_id not in members:
                self._departing.setdefault(node_id, self._log.configuration_index)
        self._catch_ups = {
            learner: self._catch_ups.get(learner) or self._new_catch_up() for learner in configuration.learners
        }

    def tick(self) -> None:
        for catch_up in self._catch_ups.values():
            catch_up.tick()

    def make_heartbeat_due(self) -> None:
        self._heartbeat_due = True

    def persisted(self, index: int) -> None:
        """The leader's own disk has its entries of this term up to `index`."""
        self._own_match_index = max(self._own_match_index, index)

    def answered(self, peer: str, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        """`response` must be of this term. False if the peer has lost what it had acknowledged."""
        progress = self._peers.get(peer)
        if progress is None:
            return True
        has_forgotten = False
        progress.is_active = True
        match response:
            case AppendEntriesResponse(success=True):
                progress.accepted(response.match_index, self._log.base.index)
            case AppendEntriesResponse():
                has_forgotten = progress.has_forgotten(response)
                if has_forgotten:
                    progress.begin_anew(response.rejected_index)
                    if peer in self._catch_ups:
                        self._catch_ups[peer] = self._new_catch_up()
                progress.rejected(response, self._log)
            case InstallSnapshotResponse(done=True):
                progress.accepted(response.last_included_index, self._log.base.index)
            case InstallSnapshotResponse():
                if response.last_included_index == progress.snapshot_index:
                    progress.received_chunks(response.offset)
        if (catch_up := self._catch_ups.get(peer)) is not None:
            catch_up.matched(progress.match_index, self._log.last_index)
        if progress.match_index >= self._departing.get(peer, self._log.last_index + 1):
            self._dismiss(peer)
        return not has_forgotten

    def take_majority_activity(self) -> bool:
        """Whether a majority, this node included, has answered since the last call (dissertation, section 6.2)."""
        active = {peer for peer, progress in self._peers.items() if progress.take_activity()} | {self._node_id}
        for peer in self._departing.keys() - active:
            self._dismiss(peer)
        return len(active & self._voters.keys()) >= majority_of(self._voters)

    def committed_index(self) -> int:
        """The highest index that may be committed now; possibly lower than what already is.

        Only an entry of the leader's own term is committed by counting, and those before it with it (paper, 5.4.2).
        """
        voters = self._voters
        match_indexes = sorted((self.match_index(voter) for voter in voters), reverse=True)
        index = match_indexes[majority_of(voters) - 1]
        return index if self._log.term_at(index) == self._term else 0

    def sends_to(self, node_id: str) -> bool:
        """A member, or one that is told of its removal."""
        return node_id in self._peers

    def match_index(self, member: str) -> int:
        """Up to where the disk of `member` is known to hold this leader's log."""
        return self._own_match_index if member == self._node_id else self._peers[member].match_index

    def is_active(self, member: str) -> bool:
        """Whether it has answered lately."""
        return member == self._node_id or self._peers[member].was_active_lately

    def has_caught_up(self, learner: str) -> bool:
        return learner in self._catch_ups and self._catch_ups[learner].is_done

    def most_caught_up(self) -> str | None:
        """The other voter that could take over soonest; None if none has answered lately."""
        active = [voter for voter in self._voters if voter != self._node_id and self.is_active(voter)]
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
        base_index, last_index = self._log.base.index, self._log.last_index
        for peer, progress in self._peers.items():
            if progress.next_index <= base_index and progress.state is not ProgressState.SNAPSHOT:
                progress.begin_snapshot()
            is_told = False
            while progress.wants_entries(last_index, self._limits.messages_in_flight):
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

    def _new_catch_up(self) -> CatchUp:
        return CatchUp(self._log.last_index, self._election_ticks)

    def _dismiss(self, peer: str) -> None:
        del self._departing[peer], self._peers[peer]

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
