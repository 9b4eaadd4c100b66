"""The consensus core: messages, ticks and proposals in, a Ready out. No disk, network, clock, thread or chance.

The Raft paper is Ongaro and Ousterhout 2014 (extended version), the dissertation is Ongaro's of 2014.
"""

from collections.abc import Callable, Iterable, Sequence

from utils.raft.core import election
from utils.raft.core.follower import append_entries
from utils.raft.core.leader import Leadership
from utils.raft.core.limits import Limits
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    Entry,
    EntryKind,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    Snapshot,
)
from utils.raft.core.ready import Event, HardState, LogTruncated, Ready, Role, RoleChanged, Status
from utils.raft.errors import NotLeaderError


class RaftCore:
    """One node's part in the protocol. Not thread-safe: it has one owner, who follows the rules in ready.py."""

    def __init__(
        self,
        *,
        node_id: str,
        voters: Sequence[str],
        hard_state: HardState,
        snapshot: Snapshot,
        entries: Iterable[Entry],
        random_ticks: Callable[[int, int], int],
        election_ticks: int,
        heartbeat_ticks: int,
        limits: Limits,
    ) -> None:
        """Starts as a follower from what the disk holds.

        `voters`: every node of the cluster, itself included. `snapshot`: `Snapshot()` if there is none; its data is in
        the state machine already. `entries`: those after it. `random_ticks(low, high)`: a random number from low to
        high, both included. `election_ticks`: the shortest election timeout; each one is drawn from there to twice it.
        """
        assert node_id in voters
        self._node_id = node_id
        self._voters = tuple(voters)
        self._heartbeat_ticks = heartbeat_ticks
        self._limits = limits
        self._log = RaftLog(snapshot, entries)
        self._last_applied = snapshot.last_included_index
        self._role = Role.FOLLOWER
        self._leader_id: str | None = None
        self._hard_state = self._written_hard_state = hard_state
        self._timer = election.ElectionTimer(election_ticks, random_ticks)
        self._tally = election.Tally(self._voters)
        # None unless this node leads.
        self._leadership: Leadership | None = None
        self._last_read_id = 0
        self._messages: list[Message] = []
        self._events: list[Event] = []

    @property
    def role(self) -> Role:
        return self._role

    @property
    def current_term(self) -> int:
        return self._hard_state.current_term

    @property
    def leader_id(self) -> str | None:
        """The leader of the current term, if this node has heard of it."""
        return self._leader_id

    @property
    def commit_index(self) -> int:
        return self._log.commit_index

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def is_ready(self) -> bool:
        """This node leads and has committed an entry of its own term."""
        return self._role is Role.LEADER and self._log.term_at(self._log.commit_index) == self.current_term

    @property
    def status(self) -> Status:
        return Status(
            role=self._role,
            term=self.current_term,
            leader_id=self._leader_id,
            commit_index=self._log.commit_index,
            last_applied=self._last_applied,
            last_index=self._log.last_index,
            is_ready=self.is_ready,
        )

    def tick(self) -> None:
        """One unit of time has passed."""
        self._timer.tick()
        if self._leadership is not None:
            self._tick_as_leader(self._leadership)
        elif self._timer.is_over:
            self._start_pre_vote()

    def step(self, message: Message) -> None:
        """A message has come. Those of strangers, for others, of the past or twice do no harm."""
        sender, body = message.sender, message.body
        if message.recipient != self._node_id or sender == self._node_id or sender not in self._voters:
            return
        match body:
            # These two speak of a term that nobody is in yet: they change nothing here.
            case PreVoteRequest():
                self._answer_pre_vote(sender, body)
                return
            case PreVoteResponse(granted=True):
                self._count_pre_vote(sender, body)
                return
            # A node that hears a leader helps nobody to depose it, and learns no term from whoever tries
            # (dissertation, section 4.2.3), unless the leader itself wants it.
            case RequestVoteRequest() if self._hears_leader and not body.leadership_transfer:
                return
        if body.term > self.current_term:
            self._become_follower(body.term, None, "saw a higher term")
        match body:
            case RequestVoteRequest():
                self._answer_vote(sender, body)
            case RequestVoteResponse():
                self._count_vote(sender, body)
            case AppendEntriesRequest():
                self._answer_append(sender, body)
            case AppendEntriesResponse():
                self._take_append_answer(sender, body)

    def propose(self, commands: Sequence[bytes], term: int | None = None) -> range:
        """Appends commands to the log and returns their indexes; their term is `current_term`.

        They are committed when they come back in `Ready.committed` with that index AND that term. Raises NotLeaderError
        (without an address) if this node does not lead, or leads in another term than `term`: nothing was appended.
        """
        if self._leadership is None or term not in (None, self.current_term):
            raise NotLeaderError(self._leader_id, None)
        first = self._log.last_index + 1
        self._append_own(EntryKind.COMMAND, commands)
        return range(first, first + len(commands))

    def request_read(self) -> int:
        """Asks the cluster whether this node still leads, and returns the id under which Ready will confirm it.

        Raises NotLeaderError. Before this leader has committed an entry of its term the confirmation waits for that.
        """
        if self._leadership is None:
            raise NotLeaderError(self._leader_id, None)
        self._last_read_id += 1
        self._leadership.request_read(self._last_read_id)
        return self._last_read_id

    def ready(self) -> Ready | None:
        """Takes what there is to do, once; None if there is nothing. Call until None after each round of input."""
        early_messages: tuple[Message, ...] = ()
        confirmed_reads: tuple[tuple[int, int], ...] = ()
        if self._leadership is not None:
            requests = self._leadership.take_requests()
            early_messages = tuple(Message(self._node_id, peer, request) for peer, request in requests)
            confirmed_reads = self._leadership.take_confirmed_reads()
        ready = Ready(
            hard_state=self._hard_state if self._hard_state != self._written_hard_state else None,
            entries=self._log.take_unwritten(),
            early_messages=early_messages,
            messages=tuple(self._messages),
            committed=self._log.take_committed(self._limits.committed_per_ready),
            confirmed_reads=confirmed_reads,
            events=tuple(self._events),
        )
        self._written_hard_state = self._hard_state
        self._messages.clear()
        self._events.clear()
        return ready if ready != Ready() else None

    def persisted(self, last_index: int, last_term: int) -> None:
        """The entries of a Ready, up to this last one, are durable on this node."""
        # Entries of an earlier term are not counted anyway, and might have been replaced since they were handed out.
        if self._leadership is not None and last_term == self._leadership.term:
            self._leadership.persisted(last_index)

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`."""
        self._last_applied = max(self._last_applied, index)

    @property
    def _hears_leader(self) -> bool:
        """A leader lives, as far as this node can know: no other is needed."""
        return self._leader_id is not None and not self._timer.is_minimum_over

    def _tick_as_leader(self, leadership: Leadership) -> None:
        leadership.tick()
        if self._timer.is_minimum_over:
            self._timer.restart()
            if not leadership.take_majority_activity():
                self._become_follower(self.current_term, None, "a majority did not answer")

    # Becoming something

    def _become(self, role: Role, leader_id: str | None, why: str) -> None:
        self._role = role
        self._leader_id = leader_id
        self._leadership = None
        self._tally = election.Tally(self._voters)
        self._events.append(RoleChanged(role=role, term=self.current_term, leader_id=leader_id, why=why))

    def _become_follower(self, term: int, leader_id: str | None, why: str) -> None:
        if term > self.current_term:
            self._hard_state = HardState(current_term=term)
        self._become(Role.FOLLOWER, leader_id, why)
        self._timer.restart_with_another_timeout()

    def _start_pre_vote(self) -> None:
        """Asks whether an election would be won before starting one (dissertation, section 9.6): no term is wasted."""
        self._become(Role.PRE_CANDIDATE, None, "heard of no leader")
        self._timer.restart_with_another_timeout()
        self._tally.add(self._node_id)
        if self._tally.is_won:
            self._start_election()
            return
        self._send_to_all(PreVoteRequest(self.current_term + 1, self._log.last_index, self._log.last_term))

    def _start_election(self) -> None:
        self._hard_state = HardState(current_term=self.current_term + 1, voted_for=self._node_id)
        self._become(Role.CANDIDATE, None, "a majority would vote for it")
        self._timer.restart_with_another_timeout()
        self._tally.add(self._node_id)
        if self._tally.is_won:
            self._become_leader()
            return
        self._send_to_all(RequestVoteRequest(self.current_term, self._log.last_index, self._log.last_term))

    def _become_leader(self) -> None:
        self._become(Role.LEADER, self._node_id, "a majority voted for it")
        self._timer.restart()
        self._leadership = Leadership(
            self._node_id,
            self._voters,
            term=self.current_term,
            log=self._log,
            heartbeat_ticks=self._heartbeat_ticks,
            limits=self._limits,
        )
        self._append_own(EntryKind.NO_OP, (b"",))

    def _append_own(self, kind: EntryKind, data: Sequence[bytes]) -> None:
        first, term = self._log.last_index + 1, self.current_term
        self._log.append([Entry(index, term, kind, item) for index, item in enumerate(data, start=first)])

    # Elections

    def _answer_pre_vote(self, sender: str, request: PreVoteRequest) -> None:
        granted = not self._hears_leader and election.grants_pre_vote(self._hard_state, request, self._log)
        self._send(sender, PreVoteResponse(request.term if granted else self.current_term, granted))

    def _count_pre_vote(self, sender: str, response: PreVoteResponse) -> None:
        if self._role is not Role.PRE_CANDIDATE or response.term != self.current_term + 1:
            return
        self._tally.add(sender)
        if self._tally.is_won:
            self._start_election()

    def _answer_vote(self, sender: str, request: RequestVoteRequest) -> None:
        granted = election.grants_vote(self._hard_state, sender, request, self._log)
        if granted:
            self._hard_state = HardState(self.current_term, sender)
            self._timer.restart()
        self._send(sender, RequestVoteResponse(self.current_term, granted))

    def _count_vote(self, sender: str, response: RequestVoteResponse) -> None:
        if self._role is not Role.CANDIDATE or response.term != self.current_term or not response.granted:
            return
        self._tally.add(sender)
        if self._tally.is_won:
            self._become_leader()

    # Replication

    def _answer_append(self, sender: str, request: AppendEntriesRequest) -> None:
        if request.term < self.current_term:
            # A deposed leader learns from the term in the answer; so does one that this node's own campaign overtook.
            self._send(sender, AppendEntriesResponse(self.current_term, success=False))
            return
        assert self._role is not Role.LEADER, f"{sender} also leads in term {request.term}"
        if self._role is not Role.FOLLOWER or self._leader_id != sender:
            self._become_follower(request.term, sender, "heard of a leader")
        self._timer.restart()
        response, truncated = append_entries(self._log, request)
        if truncated is not None:
            first_index, last_index = truncated
            self._events.append(LogTruncated(first_index=first_index, last_index=last_index, term=self.current_term))
        self._send(sender, response)

    def _take_append_answer(self, sender: str, response: AppendEntriesResponse) -> None:
        if self._leadership is not None and response.term == self._leadership.term:
            self._leadership.answered(sender, response)

    # Sending

    def _send(self, recipient: str, body: Body) -> None:
        self._messages.append(Message(self._node_id, recipient, body))

    def _send_to_all(self, body: Body) -> None:
        for voter in self._voters:
            if voter != self._node_id:
                self._send(voter, body)
