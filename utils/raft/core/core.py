"""The consensus core: messages, ticks and proposals in, a Ready out. No disk, network, clock, thread or chance.

The Raft paper is Ongaro and Ousterhout 2014 (extended version), the dissertation is Ongaro's of 2014.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from utils.raft.core.campaign import Campaign
from utils.raft.core.configuration import Change, Configuration
from utils.raft.core.election import ElectionTimer
from utils.raft.core.follower import Following
from utils.raft.core.leader import Leadership
from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    Answer,
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    Entry,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    LogBase,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    Snapshot,
    TimeoutNowRequest,
)
from utils.raft.core.ready import ConfigurationChanged, HardState, PeerForgot, Ready, Role, Status, TransferGivenUp
from utils.raft.core.replication import Replication
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
        self._heartbeat_ticks = heartbeat_ticks
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
        self._campaign = Campaign(self._state)
        self._following = Following(self._state)

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
        timer = self._state.timer
        timer.tick()
        if self._state.leadership is not None:
            self._tick_as_leader(self._state.leadership)
        elif timer.is_over and self._campaign.start():
            self._become_leader()

    def step(self, message: Message) -> None:
        """A message has come. Those of strangers, for others, of the past or twice do no harm."""
        state, sender, body = self._state, message.sender, message.body
        if message.recipient != state.node_id or sender == state.node_id:
            return
        # What strangers answer counts for nothing.
        if isinstance(body, Answer) and not self._was_asked(sender):
            return
        match body:
            # These two speak of a term that nobody is in yet: they change nothing here.
            case PreVoteRequest():
                self._campaign.answer_pre_vote(sender, body)
                return
            case PreVoteResponse(granted=True):
                if self._campaign.count_pre_vote(sender, body):
                    self._become_leader()
                return
            case RequestVoteRequest() | AppendEntriesRequest() | InstallSnapshotRequest() | TimeoutNowRequest() if (
                self.is_stranger(sender)
            ):
                return
            # A node that hears a leader helps nobody to depose it, and learns no term from whoever tries
            # (dissertation, section 4.2.3), unless the leader itself wants it.
            case RequestVoteRequest() if state.hears_leader and not body.leadership_transfer:
                return
        if body.term > state.current_term:
            state.become_follower(body.term, None, "saw a higher term")
        self._step_in_its_term(sender, body)

    def is_stranger(self, sender: str) -> bool:
        """`sender` is no member, and a leader is heard who would know: at most it is told that it finds no votes.

        Without a leader strangers may ask: this node's configuration may be an old one, or none (dissertation, 4.1).
        """
        state = self._state
        return state.hears_leader and sender != state.leader_id and sender not in state.log.configuration.members

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
        first = self.last_index + 1
        self._append_own(EntryKind.COMMAND, commands)
        return range(first, first + len(commands))

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
        # Entries of an earlier term are not counted anyway, and might have been replaced since they were handed out.
        leadership = self._state.leadership
        if leadership is not None and last_term == leadership.term:
            leadership.persisted(last_index)
            self._step_down_if_removed(leadership)

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

    def _was_asked(self, sender: str) -> bool:
        replication = self.replication
        return sender in self.configuration.members or (replication is not None and replication.sends_to(sender))

    def _step_in_its_term(self, sender: str, body: Body) -> None:
        """This node's term is that of `body`, or a later one."""
        leadership = self._state.leadership
        match body:
            case RequestVoteRequest():
                self._campaign.answer_vote(sender, body)
            case RequestVoteResponse():
                if self._campaign.count_vote(sender, body):
                    self._become_leader()
            case TimeoutNowRequest():
                if self._campaign.take_over(sender, body):
                    self._become_leader()
            case AppendEntriesRequest():
                self._following.append_entries(sender, body)
            case InstallSnapshotRequest():
                self._following.install_snapshot(sender, body)
            case AppendEntriesResponse() | InstallSnapshotResponse():
                if leadership is None or body.term != leadership.term:
                    return
                if not leadership.answered(sender, body):
                    self._state.events.append(PeerForgot(peer=sender))
                self._step_down_if_removed(leadership)

    def _tick_as_leader(self, leadership: Leadership) -> None:
        state = self._state
        target = leadership.tick()
        if target is not None:
            state.events.append(TransferGivenUp(target=target))
        if state.timer.is_minimum_over:
            state.timer.restart()
            if not leadership.take_majority_activity():
                state.become_follower(self.current_term, None, "a majority did not answer")

    def _step_down_if_removed(self, leadership: Leadership) -> None:
        """Once a leader's own removal is committed it is done; it sends off the next one (dissertation, 4.2.2)."""
        state = self._state
        if not leadership.is_removing_itself or state.log.configuration_index > state.log.commit_index:
            return
        successor = leadership.replication.most_caught_up()
        state.become_follower(self.current_term, None, "it was removed")
        if successor is not None:
            state.send(successor, TimeoutNowRequest(self.current_term))

    def _become_leader(self) -> None:
        state = self._state
        state.become(Role.LEADER, state.node_id, "a majority voted for it")
        state.timer.restart()
        state.leadership = Leadership(
            state.node_id,
            term=self.current_term,
            log=state.log,
            heartbeat_ticks=self._heartbeat_ticks,
            election_ticks=self._election_ticks,
            limits=self._limits,
        )
        self._append_own(EntryKind.NO_OP, (b"",))

    def _append_own(self, kind: EntryKind, data: Sequence[bytes]) -> None:
        first, term = self.last_index + 1, self.current_term
        self._state.log.append([Entry(index, term, kind, item) for index, item in enumerate(data, start=first)])
