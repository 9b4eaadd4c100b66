"""The consensus core: messages, ticks and proposals in, a Ready out. No disk, network, clock, thread or chance.

The Raft paper is Ongaro and Ousterhout 2014 (extended version), the dissertation is Ongaro's of 2014.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from utils.raft.core.configuration import Change, Configuration
from utils.raft.core.election import ElectionTimer
from utils.raft.core.follower import Following
from utils.raft.core.leader import Leadership
from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    Entry,
    EntryKind,
    LogBase,
    Message,
    Snapshot,
)
from utils.raft.core.ready import ConfigurationChanged, HardState, Ready, Role, Status
from utils.raft.core.replication import Replication
from utils.raft.core.rules import Rules
from utils.raft.core.state import NodeState
from utils.raft.errors import NotLeaderError

_NOTHING = Ready()


class RaftCore:
    """One node's part in the protocol. Not thread-safe: it has one owner, who follows the rules in ready.py."""

    def __init__(
        self,
        *,
        node_id: str,
        voters: Iterable[str] | Mapping[str, str],
        hard_state: HardState,
        snapshot: Snapshot,
        base: LogBase,
        entries: Iterable[Entry],
        random_ticks: Callable[[int, int], int],
        election_ticks: int,
        heartbeat_ticks: int,
        limits: Limits,
    ) -> None:
        """Starts as a follower from what the disk holds.

        `voters`: those of a new cluster, as node ids or with their addresses, until the log or the snapshot brings
        another configuration; none for a node that is to join a cluster. `snapshot`: `Snapshot()` if there is none;
        its data is in the state machine already. `entries`: those after `base`, which the snapshot covers.
        `random_ticks(low, high)`: a random number from low to high, both included. `election_ticks`: the shortest
        election timeout; each one is drawn from there to twice it.
        """
        bootstrap = Configuration(dict(voters) if isinstance(voters, Mapping) else dict.fromkeys(voters, ""))
        self._election_ticks = election_ticks
        self._limits = limits
        self._last_applied = snapshot.last_included_index
        self._written_hard_state = hard_state
        self._last_read_id = 0
        self._state = NodeState(
            node_id,
            hard_state,
            RaftLog(snapshot, base, entries, bootstrap),
            ElectionTimer(election_ticks, random_ticks),
        )
        self._reported_configuration = self.configuration
        self._following = Following(self._state)
        self._rules = Rules(
            self._state,
            self._following,
            election_ticks=election_ticks,
            heartbeat_ticks=heartbeat_ticks,
            limits=limits,
        )

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def current_term(self) -> int:
        return self._state.current_term

    @property
    def leader_id(self) -> str | None:
        """The leader of the current term, if this node has heard of it."""
        return self._state.leader_id

    @property
    def commit_index(self) -> int:
        return self._state.log.commit_index

    @property
    def last_index(self) -> int:
        return self._state.log.last_index

    @property
    def configuration(self) -> Configuration:
        """Who belongs to the cluster, as far as this node knows, whether that is committed yet or not."""
        return self._state.log.configuration

    @property
    def configuration_index(self) -> int:
        """Of the entry that it came with; 0 if it is the one that the cluster began with."""
        return self._state.log.configuration_index

    @property
    def replication(self) -> Replication | None:
        """What a leader knows of the other members; to be looked at only."""
        return self._state.leadership.replication if self._state.leadership is not None else None

    @property
    def is_ready(self) -> bool:
        """This node leads, has committed an entry of its own term, and is not about to give leadership up."""
        leadership = self._state.leadership
        return leadership is not None and leadership.has_committed and not leadership.is_leaving

    @property
    def has_more_committed(self) -> bool:
        """The next Ready has something to apply, even if nothing comes in before."""
        return self._state.log.has_more_committed

    @property
    def status(self) -> Status:
        return Status(
            role=self.role,
            term=self.current_term,
            leader_id=self.leader_id,
            commit_index=self.commit_index,
            last_applied=self._last_applied,
            last_index=self.last_index,
            is_ready=self.is_ready,
        )

    def tick(self) -> None:
        """One unit of time has passed."""
        self._rules.tick()

    def step(self, message: Message) -> None:
        """A message has come. Those of strangers, for others, of the past or twice do no harm."""
        self._rules.step(message)

    def is_stranger(self, sender: str) -> bool:
        """See `NodeState.is_stranger`."""
        return self._state.is_stranger(sender)

    def suspect(self, peer: str) -> None:
        """`peer` is probably gone. If it leads, this node asks for pre-votes soon, and grants them at once.

        A hint: whoever hears the leader refuses, and the next heartbeat clears its name.
        """
        if self.role is Role.FOLLOWER and peer == self.leader_id:
            self._state.timer.hasten()

    def propose(self, commands: Sequence[bytes], term: int | None = None) -> range:
        """Appends commands to the log and returns their indexes; their term is `current_term`.

        They are committed when they come back in `Ready.committed` with that index AND that term. Raises NotLeaderError
        (without an address) if this node does not lead, leads in another term than `term`, or hands leadership over:
        nothing was appended.
        """
        leadership = self._leadership()
        if leadership.is_leaving:
            raise NotLeaderError(None, None)
        if term not in (None, leadership.term):
            raise NotLeaderError(self.leader_id, None)
        return leadership.append(EntryKind.COMMAND, commands)

    def request_read(self) -> int:
        """Asks the cluster whether this node still leads, and returns the id under which Ready will confirm it.

        Raises NotLeaderError. Before this leader has committed an entry of its term the confirmation waits for that.
        """
        leadership = self._leadership()
        self._last_read_id += 1
        leadership.request_read(self._last_read_id)
        return self._last_read_id

    def transfer_leadership(self, to: str | None = None) -> str:
        """Begins to hand over to the voter `to`, or the one that is most caught up; returns to whom.

        This node stops leading, or reports TransferGivenUp after the longest election timeout. Raises NotLeaderError,
        and TransferFailedError if there is no such voter.
        """
        return self._leadership().hand_over(to, 2 * self._election_ticks)

    def change_membership(self, change: Change) -> int:
        """Appends the configuration after `change`, which is in force at once; returns the index of its entry.

        It has come about when that is committed, in this term. If the change is none, it is the index of the newest
        configuration. Raises NotLeaderError; MembershipBusyError before an entry of this term or the last change is
        committed; MembershipRefusedError.
        """
        return self._leadership().change_membership(change)

    def ready(self) -> Ready | None:
        """Takes what there is to do, once; None if there is nothing.

        Call it after each round of input, and again while `has_more_committed`.
        """
        state, leadership = self._state, self._state.leadership
        early_messages: tuple[Message, ...] = ()
        confirmed_reads: tuple[tuple[int, int], ...] = ()
        needs_snapshot = False
        if leadership is not None:
            requests = leadership.take_requests()
            early_messages = tuple(Message(state.node_id, peer, request) for peer, request in requests)
            confirmed_reads = leadership.take_confirmed_reads()
            needs_snapshot = leadership.take_snapshot_wish()
        if (configuration := self.configuration) is not self._reported_configuration:
            self._reported_configuration = configuration
            state.events.append(ConfigurationChanged(configuration, state.log.configuration_index))
        ready = Ready(
            hard_state=state.hard_state if state.hard_state != self._written_hard_state else None,
            snapshot=self._following.take_snapshot(),
            compaction=state.log.take_compaction(),
            entries=state.log.take_unwritten(),
            early_messages=early_messages,
            messages=tuple(state.messages),
            committed=state.log.take_committed(self._limits.committed_per_ready),
            confirmed_reads=confirmed_reads,
            needs_snapshot=needs_snapshot,
            events=tuple(state.events),
        )
        self._written_hard_state = state.hard_state
        state.messages.clear()
        state.events.clear()
        return ready if ready != _NOTHING else None

    def persisted(self, last_index: int, last_term: int) -> None:
        """The entries of a Ready, up to this last one, are durable on this node."""
        self._rules.persisted(last_index, last_term)

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`."""
        self._last_applied = max(self._last_applied, index)

    def compact(self, index: int) -> None:
        """A durable snapshot covers the log up to `index` or beyond: the log may forget it, and soon will."""
        leadership = self._state.leadership
        self._state.log.compact(index if leadership is None else leadership.compactable_index(index))

    def bring_snapshot(self, snapshot: Snapshot) -> None:
        """The newest durable snapshot, after a Ready that needs it."""
        if self._state.leadership is not None:
            self._state.leadership.bring_snapshot(snapshot)

    def _leadership(self) -> Leadership:
        if self._state.leadership is None:
            raise NotLeaderError(self.leader_id, None)
        return self._state.leadership
