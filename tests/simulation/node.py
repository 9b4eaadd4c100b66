"""The owner of one core: the rules of ready.py in virtual time, on a disk that can lose what was not synced."""

import dataclasses
import random
from collections import deque
from collections.abc import Callable, Sequence

from tests.simulation.chain import EMPTY, HashChain, extended
from tests.simulation.disk import SimulatedDisk, Write
from tests.simulation.invariants import Invariants
from tests.simulation.machine import machine_hash, snapshot_of
from tests.simulation.network import Schedule, SimulatedNetwork
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Entry, LogBase, Message, Snapshot
from utils.raft.core.ready import Ready, Role, TransferGivenUp
from utils.raft.errors import NotLeaderError, TransferFailedError

ELECTION_TICKS = 10
HEARTBEAT_TICKS = 2
# Small, so that every limit is met.
LIMITS = Limits(
    entries_per_message=8, bytes_per_message=200, messages_in_flight=3, committed_per_ready=10, bytes_per_chunk=100
)


@dataclasses.dataclass(frozen=True)
class SnapshotHabit:
    """After how many applied entries a node takes a snapshot, and how many it leaves in the log behind it."""

    entries: int
    entries_kept: int


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
        snapshot_habit: SnapshotHabit,
    ) -> None:
        self.node_id = node_id
        self.disk = SimulatedDisk()
        self.longest_sync = 1
        self._voters = voters
        self._rng = rng
        self._schedule = schedule
        self._invariants = invariants
        self._snapshot_habit = snapshot_habit
        self.network: SimulatedNetwork | None = None
        self.core: RaftCore | None = None
        self.is_paused = False

    def start(self) -> None:
        assert self.core is None
        self.disk.read()
        disk = self.disk
        self._syncing: deque[Ready] = deque()
        self._inbox: list[Message] = []
        self._log = HashChain()
        self._log.begin_at(disk.base.index, disk.chain.at(disk.base.index) or EMPTY)
        self._log.put(disk.entries)
        self._applied = LogBase(disk.snapshot.last_included_index, disk.snapshot.last_included_term)
        self._machine = machine_hash(disk.snapshot) if self._applied.index else EMPTY
        self._commit_index = self._applied.index
        self._led_term = 0
        # The term in which leadership is being handed over; 0 if it is not.
        self._handing_over_in = 0
        self._is_taking_snapshot = False
        self.core = RaftCore(
            node_id=self.node_id,
            voters=self._voters,
            hard_state=disk.hard_state,
            snapshot=disk.snapshot,
            base=disk.base,
            entries=disk.entries,
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
        try:
            indexes = self.core.propose(commands, self.core.current_term)
        except NotLeaderError:
            assert self._is_handing_over, "a leader refuses proposals"
            return
        assert not self._is_handing_over, "a leader that hands over takes proposals"
        assert len(indexes) == len(commands)
        self._work(self.core)

    def read(self) -> None:
        assert self.core is not None
        self._invariants.read_requested(self.node_id, self.core.request_read())
        self._work(self.core)

    def transfer_leadership(self, to: str | None) -> str | None:
        """To whom, if to anybody."""
        assert self.core is not None
        try:
            target = self.core.transfer_leadership(to)
        except TransferFailedError:
            return None
        self._handing_over_in = self.core.current_term
        self._work(self.core)
        return target

    def refuses_other_terms(self) -> bool:
        assert self.core is not None
        try:
            self.core.propose([b"never"], self.core.current_term - 1)
        except NotLeaderError:
            return True
        return False

    @property
    def _is_handing_over(self) -> bool:
        return self.core is not None and self._handing_over_in == self.core.current_term

    def _work(self, core: RaftCore) -> None:
        while (ready := core.ready()) is not None:
            self._take(core, ready)

    def _take(self, core: RaftCore, ready: Ready) -> None:
        if any(isinstance(event, TransferGivenUp) for event in ready.events):
            self._handing_over_in = 0
        for message in ready.early_messages:
            self._send(message)
        if ready.snapshot is not None:
            self._restore(ready.snapshot)
        self._log.put(ready.entries)
        self._invariants.entries_taken(self._log, ready.entries)
        self._observe(core)
        self._syncing.append(ready)
        self.disk.write(Write(ready.hard_state, ready.entries, ready.snapshot, ready.compaction))
        if len(self._syncing) == 1:
            self._start_sync(core, ready)
        # Committed entries may be applied before this disk has them.
        self._apply(ready.committed)
        core.applied(self._applied.index)
        for read_id, index in ready.confirmed_reads:
            self._invariants.read_confirmed(self.node_id, read_id, index)
        self._take_snapshot_if_due(core)
        if ready.needs_snapshot:
            self._later(core, lambda: core.bring_snapshot(self.disk.snapshot))

    def _start_sync(self, core: RaftCore, ready: Ready) -> None:
        needs_disk = ready.hard_state is not None or ready.entries or ready.compaction is not None
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

    # The state machine and its snapshots

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.index == self._applied.index + 1, "the state machine skipped an entry"
            self._machine = extended(self._machine, entry)
            self._applied = LogBase(entry.index, entry.term)
            self._invariants.applied(self.node_id, entry, self._machine)

    def _restore(self, snapshot: Snapshot) -> None:
        index = snapshot.last_included_index
        assert index > self._applied.index, "a snapshot took the state machine back"
        self._machine = machine_hash(snapshot)
        self._applied = LogBase(index, snapshot.last_included_term)
        self._invariants.restored(self.node_id, index, self._machine)
        self._log.begin_at(index, self._machine)

    def _take_snapshot_if_due(self, core: RaftCore) -> None:
        """It becomes durable beside the log, and only later the log gets shorter."""
        is_due = self._applied.index >= self.disk.snapshot.last_included_index + self._snapshot_habit.entries
        if self._is_taking_snapshot or not is_due:
            return
        self._is_taking_snapshot = True
        snapshot = snapshot_of(self._applied, self._machine, self._rng)

        def compact() -> None:
            self._is_taking_snapshot = False
            core.compact(snapshot.last_included_index - self._snapshot_habit.entries_kept)

        def saved() -> None:
            self.disk.save_snapshot(snapshot)
            self._later(core, compact)

        self._later(core, saved)

    def _later(self, core: RaftCore, action: Callable[[], None]) -> None:
        """When the disk has done something beside the log; never, if this node crashes before."""

        def run() -> None:
            if core is self.core:
                action()
                self._work(core)

        self._schedule(self._rng.randint(1, 2 * self.longest_sync), run)

    def _observe(self, core: RaftCore) -> None:
        self._invariants.committed(self._log, self._commit_index, core)
        self._commit_index = core.commit_index
        if core.role is Role.LEADER and self._led_term != core.current_term:
            self._led_term = core.current_term
            self._invariants.elected(self.node_id, core.current_term, self._log)
