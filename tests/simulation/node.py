"""The owner of one core: the rules of ready.py in virtual time, on a disk that can lose what was not synced."""

import random
from collections import deque
from collections.abc import Sequence

from tests.simulation.chain import EMPTY, HashChain, extended
from tests.simulation.disk import SimulatedDisk, Write
from tests.simulation.invariants import Invariants
from tests.simulation.network import Schedule, SimulatedNetwork
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Entry, Message, Snapshot
from utils.raft.core.ready import Ready, Role
from utils.raft.errors import NotLeaderError

ELECTION_TICKS = 10
HEARTBEAT_TICKS = 2
# Small, so that every limit is met.
LIMITS = Limits(entries_per_message=8, bytes_per_message=200, messages_in_flight=3, committed_per_ready=10)


class SimulatedNode:
    """Runs, is paused (a stopped process: nothing is lost, nothing is done), or is down."""

    def __init__(
        self,
        node_id: str,
        voters: Sequence[str],
        *,
        rng: random.Random,
        schedule: Schedule,
        invariants: Invariants,
    ) -> None:
        self.node_id = node_id
        self.disk = SimulatedDisk()
        self.longest_sync = 1
        self._voters = voters
        self._rng = rng
        self._schedule = schedule
        self._invariants = invariants
        self.network: SimulatedNetwork | None = None
        self.core: RaftCore | None = None
        self.is_paused = False

    def start(self) -> None:
        assert self.core is None
        self._syncing: deque[Ready] = deque()
        self._inbox: list[Message] = []
        self._log = HashChain()
        self._log.put(self.disk.entries)
        self._machine = EMPTY
        self._applied_index = 0
        self._commit_index = 0
        self._led_term = 0
        self.core = RaftCore(
            node_id=self.node_id,
            voters=self._voters,
            hard_state=self.disk.hard_state,
            snapshot=Snapshot(),
            entries=self.disk.entries,
            random_ticks=self._rng.randint,
            election_ticks=ELECTION_TICKS,
            heartbeat_ticks=HEARTBEAT_TICKS,
            limits=LIMITS,
        )

    def crash(self) -> None:
        self.core = None
        self.is_paused = False
        self.disk.cut_power(self._rng)

    def resume(self) -> None:
        """Everything that came meanwhile is read at once, and the clients' part of it first."""
        self.is_paused = False
        if self.leads:
            self.read()
            self.propose([b"proposed while %b slept" % self.node_id.encode()])
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            self.deliver(message)

    @property
    def leads(self) -> bool:
        return self.core is not None and not self.is_paused and self.core.role is Role.LEADER

    def tick(self) -> None:
        if self.core is not None and not self.is_paused:
            self.core.tick()
            self._work(self.core)

    def deliver(self, message: Message) -> None:
        if self.core is None:
            return
        if self.is_paused:
            self._inbox.append(message)
            return
        self.core.step(message)
        self._work(self.core)

    def propose(self, commands: Sequence[bytes]) -> None:
        assert self.core is not None
        indexes = self.core.propose(commands, self.core.current_term)
        assert len(indexes) == len(commands)
        self._work(self.core)

    def read(self) -> None:
        assert self.core is not None
        self._invariants.read_requested(self.node_id, self.core.request_read())
        self._work(self.core)

    def refuses_other_terms(self) -> bool:
        assert self.core is not None
        try:
            self.core.propose([b"never"], self.core.current_term - 1)
        except NotLeaderError:
            return True
        return False

    def _work(self, core: RaftCore) -> None:
        while (ready := core.ready()) is not None:
            self._take(core, ready)

    def _take(self, core: RaftCore, ready: Ready) -> None:
        for message in ready.early_messages:
            self._send(message)
        self._log.put(ready.entries)
        self._invariants.entries_taken(self._log, ready.entries)
        self._observe(core)
        self._syncing.append(ready)
        self.disk.write(Write(ready.hard_state, ready.entries))
        if len(self._syncing) == 1:
            self._start_sync(core, ready)
        # Committed entries may be applied before this disk has them.
        self._apply(ready.committed)
        core.applied(self._applied_index)
        for read_id, index in ready.confirmed_reads:
            self._invariants.read_confirmed(self.node_id, read_id, index)

    def _start_sync(self, core: RaftCore, ready: Ready) -> None:
        needs_disk = ready.hard_state is not None or ready.entries
        delay = self._rng.randint(1, self.longest_sync) if needs_disk else 0
        self._schedule(delay, lambda: self._synced(core))

    def _synced(self, core: RaftCore) -> None:
        if core is not self.core:
            return
        ready = self._syncing.popleft()
        self.disk.sync_one()
        for message in ready.messages:
            self._send(message)
        if self._syncing:
            self._start_sync(core, self._syncing[0])
        if ready.entries:
            core.persisted(ready.entries[-1].index, ready.entries[-1].term)
        self._work(core)

    def _send(self, message: Message) -> None:
        assert self.network is not None
        self._invariants.message_sent(message, self.disk)
        self.network.send(message)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.index == self._applied_index + 1, "the state machine skipped an entry"
            self._machine = extended(self._machine, entry)
            self._applied_index = entry.index
            self._invariants.applied(self.node_id, entry, self._machine)

    def _observe(self, core: RaftCore) -> None:
        self._invariants.committed(self._log, self._commit_index, core)
        self._commit_index = core.commit_index
        if core.role is Role.LEADER and self._led_term != core.current_term:
            self._led_term = core.current_term
            self._invariants.elected(self.node_id, core.current_term, self._log)
