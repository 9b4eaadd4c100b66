"""The leader's side of log replication: what each follower is sent, what a majority holds (paper, 5.3 and 5.4.2)."""

from collections.abc import Iterator, Sequence

from utils.raft.core.election import majority_of
from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import AppendEntriesRequest, AppendEntriesResponse, Entry
from utils.raft.core.progress import Progress


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

    def make_heartbeat_due(self) -> None:
        self._heartbeat_due = True

    def persisted(self, index: int) -> None:
        """The leader's own disk has its entries of this term up to `index`."""
        self._own_match_index = max(self._own_match_index, index)

    def answered(self, peer: str, response: AppendEntriesResponse) -> None:
        """`response` must be of this term."""
        progress = self._peers[peer]
        progress.is_active = True
        if response.success:
            progress.accepted(response.match_index)
        else:
            progress.rejected(response, self._log)

    def take_majority_activity(self) -> bool:
        """Whether a majority, this node included, has answered since the last call (dissertation, section 6.2)."""
        active = 1 + sum(progress.is_active for progress in self._peers.values())
        for progress in self._peers.values():
            progress.is_active = False
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

    def requests(self, read_id: int) -> Iterator[tuple[str, AppendEntriesRequest]]:
        """What to send now, to whom: all entries that flow control lets go, and heartbeats where they are due.

        A higher commit index alone is no reason to send: it travels with the next entries or heartbeat.
        """
        for peer, progress in self._peers.items():
            is_told = False
            while progress.wants_entries(self._log.last_index, self._limits.messages_in_flight):
                entries = self._next_entries(progress.next_index)
                yield peer, self._request(progress, entries, read_id)
                progress.sent_entries(entries[-1].index)
                is_told = True
            if is_told:
                continue
            if self._heartbeat_due or progress.wants_probe() or progress.newest_read_sent < read_id:
                yield peer, self._request(progress, (), read_id)
                progress.sent_probe()
        self._heartbeat_due = False

    def _next_entries(self, first_index: int) -> tuple[Entry, ...]:
        entries = self._log.entries_between(first_index, first_index + self._limits.entries_per_message - 1)
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data)
            if size > self._limits.bytes_per_message and count:
                return tuple(entries[:count])
        return tuple(entries)

    def _request(self, progress: Progress, entries: tuple[Entry, ...], read_id: int) -> AppendEntriesRequest:
        prev_log_index = progress.next_index - 1
        prev_log_term = self._log.term_at(prev_log_index)
        assert prev_log_term is not None
        progress.newest_read_sent = read_id
        return AppendEntriesRequest(
            term=self._term,
            prev_log_index=prev_log_index,
            prev_log_term=prev_log_term,
            entries=entries,
            leader_commit=self._log.commit_index,
            read_id=read_id,
        )
