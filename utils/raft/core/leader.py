"""What a node keeps while it leads: the replication of its log, the reads that wait, and who is to follow it."""

from collections.abc import Sequence

from utils.raft.core.configuration import Change, Promote, changed
from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Snapshot,
    TimeoutNowRequest,
)
from utils.raft.core.reads import Reads
from utils.raft.core.replication import Replication
from utils.raft.core.transfer import Transfer
from utils.raft.errors import MembershipBusyError, MembershipRefusedError, NotLeaderError, TransferFailedError

Request = AppendEntriesRequest | InstallSnapshotRequest | TimeoutNowRequest


class Leadership:
    """Of one term: made before the leader's first own entry, dropped when it steps down."""

    def __init__(
        self, node_id: str, *, term: int, log: RaftLog, heartbeat_ticks: int, election_ticks: int, limits: Limits
    ) -> None:
        self.term = term
        self._node_id = node_id
        self._log = log
        self.replication = Replication(node_id, term, log, limits, election_ticks)
        self._reads = Reads(node_id, first_own_index=log.last_index + 1)
        self._heartbeat_ticks = heartbeat_ticks
        self._ticks_since_heartbeat = 0
        self._transfer: Transfer | None = None

    @property
    def is_handing_over(self) -> bool:
        return self._transfer is not None

    def tick(self) -> str | None:
        """Whom leadership was to go to, if the time for that is over now."""
        self.replication.tick()
        self._ticks_since_heartbeat += 1
        if self._ticks_since_heartbeat >= self._heartbeat_ticks:
            self._ticks_since_heartbeat = 0
            self.replication.make_heartbeat_due()
            if self._transfer is not None:
                self._transfer.repeat()
        if self._transfer is None or not self._transfer.tick():
            return None
        target, self._transfer = self._transfer.target, None
        return target

    @property
    def is_leaving(self) -> bool:
        """Whoever proposes something should do so elsewhere, soon."""
        return self.is_handing_over or self.is_removing_itself

    @property
    def has_committed(self) -> bool:
        """An entry of this term: only then does it know what is committed."""
        return self._log.term_at(self._log.commit_index) == self.term

    @property
    def is_removing_itself(self) -> bool:
        """It leads without counting itself until its removal is committed (dissertation, section 4.2.2)."""
        return self._node_id not in self._log.configuration.voters

    def append(self, kind: EntryKind, data: Sequence[bytes]) -> range:
        """This leader's own entries; returns their indexes."""
        indexes = range(self._log.last_index + 1, self._log.last_index + 1 + len(data))
        self._log.append([Entry(index, self.term, kind, item) for index, item in zip(indexes, data, strict=True)])
        return indexes

    def change_membership(self, change: Change) -> int:
        """Appends the configuration after `change`, if that is another; returns the index of the newest one.

        Raises NotLeaderError, MembershipBusyError, MembershipRefusedError.
        """
        if self.is_leaving:
            raise NotLeaderError(None, None)
        # Otherwise two leaders, each with a change of its own, could have majorities that share no server: hence also
        # the condition that Ongaro added in 2015, an entry of the leader's own term.
        if not self.has_committed:
            raise MembershipBusyError("the leader has not committed an entry of its term yet")
        if self._log.configuration_index > self._log.commit_index:
            raise MembershipBusyError("another change of membership is in flight")
        after = changed(self._log.configuration, change)
        if after is self._log.configuration:
            return self._log.configuration_index
        if isinstance(change, Promote) and not self.replication.has_caught_up(change.node_id):
            raise MembershipRefusedError(f"{change.node_id} has not caught up with the log yet")
        self.append(EntryKind.CONFIGURATION, (after.encoded(),))
        self.replication.follow_configuration()
        return self._log.configuration_index

    def take_majority_activity(self) -> bool:
        return self.replication.take_majority_activity()

    def request_read(self, read_id: int) -> None:
        self._reads.request(read_id, self._log.commit_index)

    def persisted(self, index: int) -> None:
        """The leader's own disk has its entries of this term up to `index`."""
        self.replication.persisted(index)
        self._advance_commit()

    def answered(self, peer: str, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        """`response` must be of this term. False if the peer has lost what it had acknowledged."""
        if self._is_about_the_future(response):
            return True
        is_sound = self.replication.answered(peer, response)
        if isinstance(response, AppendEntriesResponse):
            self._reads.acknowledged(peer, response.read_id)
        self._advance_commit()
        return is_sound

    def take_requests(self) -> list[tuple[str, Request]]:
        """What to send now, to whom."""
        requests: list[tuple[str, Request]] = list(self.replication.requests(self._reads.newest_id))
        transfer = self._transfer
        if transfer is not None and self._holds_all(transfer.target) and transfer.take_turn():
            requests.append((transfer.target, TimeoutNowRequest(self.term)))
        return requests

    def take_confirmed_reads(self) -> tuple[tuple[int, int], ...]:
        """The reads that are confirmed, once, as (read_id, index)."""
        return self._reads.take_confirmed(self._log.commit_index, self._log.configuration.voters)

    def compactable_index(self, index: int) -> int:
        """How far the log may forget, `index` at most."""
        return self.replication.compactable_index(index)

    def take_snapshot_wish(self) -> bool:
        """Whether the owner should bring a snapshot, once."""
        return self.replication.take_snapshot_wish()

    def bring_snapshot(self, snapshot: Snapshot) -> None:
        self.replication.bring_snapshot(snapshot)

    def hand_over(self, target: str | None, ticks: int) -> str:
        """Begins to; returns to whom. A hand-over that is under way is forgotten. Raises TransferFailedError."""
        if target is None:
            target = self.replication.most_caught_up()
            if target is None:
                raise TransferFailedError("no other voter answers")
        elif target == self._node_id or target not in self._log.configuration.voters:
            raise TransferFailedError(f"{target} is not one of the other voters")
        self._transfer = Transfer(target, ticks)
        return target

    def _holds_all(self, member: str) -> bool:
        return self.replication.match_index(member) == self._log.last_index

    def _is_about_the_future(self, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        """It answers what this leader has not sent: whoever says so is mistaken about its term."""
        if isinstance(response, InstallSnapshotResponse):
            return response.last_included_index > self._log.last_index
        return response.match_index > self._log.last_index or response.read_id > self._reads.newest_id

    def _advance_commit(self) -> None:
        self._log.commit_to(self.replication.committed_index())
