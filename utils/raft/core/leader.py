"""What a node keeps while it leads: the replication of its log, the reads that wait, and its heartbeat."""

from collections.abc import Sequence

from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import AppendEntriesRequest, AppendEntriesResponse
from utils.raft.core.reads import Reads
from utils.raft.core.replication import Replication


class Leadership:
    """Of one term: made before the leader's first own entry, dropped when it steps down."""

    def __init__(
        self, node_id: str, voters: Sequence[str], *, term: int, log: RaftLog, heartbeat_ticks: int, limits: Limits
    ) -> None:
        self.term = term
        self._log = log
        self._replication = Replication(node_id, voters, term, log, limits)
        self._reads = Reads(node_id, voters, first_own_index=log.last_index + 1)
        self._heartbeat_ticks = heartbeat_ticks
        self._ticks_since_heartbeat = 0

    def tick(self) -> None:
        self._ticks_since_heartbeat += 1
        if self._ticks_since_heartbeat >= self._heartbeat_ticks:
            self._ticks_since_heartbeat = 0
            self._replication.make_heartbeat_due()

    def take_majority_activity(self) -> bool:
        return self._replication.take_majority_activity()

    def request_read(self, read_id: int) -> None:
        self._reads.request(read_id, self._log.commit_index)

    def persisted(self, index: int) -> None:
        """The leader's own disk has its entries of this term up to `index`."""
        self._replication.persisted(index)
        self._advance_commit()

    def answered(self, peer: str, response: AppendEntriesResponse) -> None:
        """`response` must be of this term."""
        self._replication.answered(peer, response)
        self._reads.acknowledged(peer, response.read_id)
        self._advance_commit()

    def take_requests(self) -> list[tuple[str, AppendEntriesRequest]]:
        """What to send now, to whom."""
        return list(self._replication.requests(self._reads.newest_id))

    def take_confirmed_reads(self) -> tuple[tuple[int, int], ...]:
        """The reads that are confirmed, once, as (read_id, index)."""
        return self._reads.take_confirmed(self._log.commit_index)

    def _advance_commit(self) -> None:
        self._log.commit_to(self._replication.committed_index())
