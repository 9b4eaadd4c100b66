"""What a node keeps while it leads: the replication of its log, the reads that wait, and who is to follow it."""

from collections.abc import Sequence

from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Snapshot,
    TimeoutNowRequest,
)
from utils.raft.core.reads import Reads
from utils.raft.core.replication import Replication
from utils.raft.core.transfer import Transfer
from utils.raft.errors import TransferFailedError

Request = AppendEntriesRequest | InstallSnapshotRequest | TimeoutNowRequest


class Leadership:
    """Of one term: made before the leader's first own entry, dropped when it steps down."""

    def __init__(
        self, node_id: str, voters: Sequence[str], *, term: int, log: RaftLog, heartbeat_ticks: int, limits: Limits
    ) -> None:
        self.term = term
        self._node_id = node_id
        self._voters = voters
        self._log = log
        self._replication = Replication(node_id, voters, term, log, limits)
        self._reads = Reads(node_id, voters, first_own_index=log.last_index + 1)
        self._heartbeat_ticks = heartbeat_ticks
        self._ticks_since_heartbeat = 0
        self._transfer: Transfer | None = None

    @property
    def is_handing_over(self) -> bool:
        return self._transfer is not None

    def tick(self) -> str | None:
        """Whom leadership was to go to, if the time for that is over now."""
        self._ticks_since_heartbeat += 1
        if self._ticks_since_heartbeat >= self._heartbeat_ticks:
            self._ticks_since_heartbeat = 0
            self._replication.make_heartbeat_due()
            if self._transfer is not None:
                self._transfer.repeat()
        if self._transfer is None or not self._transfer.tick():
            return None
        target, self._transfer = self._transfer.target, None
        return target

    def take_majority_activity(self) -> bool:
        return self._replication.take_majority_activity()

    def request_read(self, read_id: int) -> None:
        self._reads.request(read_id, self._log.commit_index)

    def persisted(self, index: int) -> None:
        """The leader's own disk has its entries of this term up to `index`."""
        self._replication.persisted(index)
        self._advance_commit()

    def answered(self, peer: str, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        """`response` must be of this term. False if the peer has lost what it had acknowledged."""
        is_sound = self._replication.answered(peer, response)
        if isinstance(response, AppendEntriesResponse):
            self._reads.acknowledged(peer, response.read_id)
        self._advance_commit()
        return is_sound

    def take_requests(self) -> list[tuple[str, Request]]:
        """What to send now, to whom."""
        requests: list[tuple[str, Request]] = list(self._replication.requests(self._reads.newest_id))
        transfer = self._transfer
        if transfer is not None and self._replication.holds_all(transfer.target) and transfer.take_turn():
            requests.append((transfer.target, TimeoutNowRequest(self.term)))
        return requests

    def take_confirmed_reads(self) -> tuple[tuple[int, int], ...]:
        """The reads that are confirmed, once, as (read_id, index)."""
        return self._reads.take_confirmed(self._log.commit_index)

    def compactable_index(self, index: int) -> int:
        """How far the log may forget, `index` at most."""
        return self._replication.compactable_index(index)

    def take_snapshot_wish(self) -> bool:
        """Whether the owner should bring a snapshot, once."""
        return self._replication.take_snapshot_wish()

    def bring_snapshot(self, snapshot: Snapshot) -> None:
        self._replication.bring_snapshot(snapshot)

    def hand_over(self, target: str | None, ticks: int) -> str:
        """Begins to; returns to whom. A hand-over that is under way is forgotten. Raises TransferFailedError."""
        if target is None:
            target = self._replication.most_caught_up()
            if target is None:
                raise TransferFailedError("no other voter answers")
        elif target == self._node_id or target not in self._voters:
            raise TransferFailedError(f"{target} is not one of the other voters")
        self._transfer = Transfer(target, ticks)
        return target

    def _advance_commit(self) -> None:
        self._log.commit_to(self._replication.committed_index())
