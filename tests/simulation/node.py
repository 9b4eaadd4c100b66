"""A node as it runs in production, RaftNode and all, as a process in virtual time on a simulated disk."""

import asyncio
import contextlib
import dataclasses
import errno
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any

from tests.simulation.chain import HashChain
from tests.simulation.disk import SimulatedFiles
from tests.simulation.durable import Witness, WitnessedStorage
from tests.simulation.invariants import Invariants, require
from tests.simulation.loop import Handle, Process, SimulatedLoop
from tests.simulation.machines import Commands, SimulatedMachine
from tests.simulation.network import SimulatedNetwork, SimulatedTransport
from utils.raft.config import RaftConfig
from utils.raft.core.configuration import AddLearner, Change, Remove
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Message
from utils.raft.core.ready import Ready, Role
from utils.raft.errors import (
    LogDamagedError,
    NotLeaderError,
    OutcomeUnknownError,
    ProposalDroppedError,
    ProposalRefusedError,
    RaftError,
    TransferFailedError,
)
from utils.raft.io.frames import read_frame, scan
from utils.raft.io.log_file import StorageFullError
from utils.raft.io.node import RaftNode
from utils.raft.io.storage import FileStorage, StoredState

ELECTION_TIMEOUT_MS = 400
HEARTBEAT_INTERVAL_MS = 120
# Small, so that every limit is met.
LIMITS = Limits(
    entries_per_message=8, bytes_per_message=600, messages_in_flight=3, committed_per_ready=10, bytes_per_chunk=700
)
_FILE_BYTES_MAX = 4_000
_SPACE_BYTES = 1_000
_DIRECTORY = Path("/raft")


@dataclasses.dataclass(frozen=True)
class World:
    """What all nodes of one run have in common."""

    rng: random.Random
    loop: SimulatedLoop
    invariants: Invariants
    commands: Commands
    # Of those who found the cluster.
    node_ids: Sequence[str]
    snapshot_entries: int
    snapshot_log_bytes: int
    nodes: "dict[str, SimulatedNode]" = dataclasses.field(default_factory=dict)
    # What happened, by name.
    happened: Counter[str] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass
class _Admission:
    """Of one disk: an answer to what was asked for another one does not count."""

    was_removed: bool
    was_added: bool = False

    def removed(self) -> None:
        self.was_removed = True

    def added(self) -> None:
        self.was_added = True


class SimulatedNode:
    """Runs, is stopped (as by SIGSTOP: nothing is lost, nothing is done), or is down."""

    def __init__(self, node_id: str, world: World) -> None:
        self.node_id = node_id
        self.files = SimulatedFiles()
        self.witness = Witness(node_id, world.invariants.prefix)
        # What the disks held that this node has lost.
        self._lost = HashChain()
        self.sync_us_max = 1_000
        # It may join later.
        self.is_spare = node_id not in world.node_ids
        # It is no founder of the cluster, or not any more.
        self._joins = self.is_spare
        self._admission = _Admission(was_removed=True)
        self.network: SimulatedNetwork | None = None
        # Told when there is no process any more, for whatever reason.
        self.went_down: Callable[[SimulatedNode], None] = lambda _: None
        self.process: Process | None = None
        self.machine: SimulatedMachine | None = None
        self.raft: RaftNode | None = None
        self._world = world
        self._log = HashChain()
        self._commit_index = 0
        self._voters: Collection[str] = ()
        self._led_term = 0

    @property
    def core(self) -> RaftCore | None:
        return self.raft._owner.core if self.raft is not None else None

    @property
    def durable_logs(self) -> tuple[HashChain, HashChain]:
        """What its disk holds, and what was acknowledged from one that it has lost: that still counts."""
        return self.witness.chain, self._lost

    @property
    def is_joining(self) -> bool:
        return self._joins and not self.is_spare and not self._admission.was_added

    @property
    def leads(self) -> bool:
        is_awake = self.process is not None and not self.process.is_stopped
        return is_awake and self.raft is not None and self.raft._owner.leads

    def start(self) -> None:
        assert self.process is None
        world = self._world
        self.process = Process(
            clock_rate=world.rng.choice((0.7, 0.9, 1.0, 1.0, 1.1, 1.4)),
            disk_delay_us=lambda: world.rng.randint(1, self.sync_us_max),
            point=self.files.point,
            power_failed=self.cut_power,
            ended=self._ended,
            join=self._join,
        )
        self.machine = SimulatedMachine(
            world.rng, lambda index, machine: world.invariants.applied(self.node_id, index, machine)
        )
        config = RaftConfig(
            node_id=self.node_id,
            port=1,
            peers={node_id: f"{node_id}:1" for node_id in (*world.node_ids, self.node_id)},
            join=("anybody:1",) if self._joins else (),
            data_dir="",
            election_timeout_ms=ELECTION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            snapshot_entries=world.snapshot_entries,
            snapshot_log_bytes=world.snapshot_log_bytes,
        )
        self.raft = RaftNode(
            config,
            self.machine,
            storage=WitnessedStorage(self._storage(self.files), self.witness),
            transport=SimulatedTransport(self._send),
            random_ticks=world.rng.randint,
            limits=LIMITS,
        )
        self._spawn(self._start(self.raft))

    def kill(self) -> None:
        """The process alone: the kernel still has what was written, and may lose it later."""
        self._forget_process()
        self.files.kill()

    def cut_power(self) -> None:
        self._forget_process()
        self.files.cut_power(self._world.rng)

    def lose_disk(self) -> None:
        """Another machine takes its place, with its name and an empty disk: what it was is removed, then it joins."""
        if self.process is not None:
            self._forget_process()
        self._lost = self.witness.chain
        self.files = SimulatedFiles()
        self.witness = Witness(self.node_id, self._world.invariants.prefix)
        self._joins = True
        self._admission = _Admission(was_removed=False)

    def shut_down(self) -> None:
        """As on SIGTERM."""
        assert self.raft is not None
        self._spawn(self._stop(self.raft))

    def stop(self) -> None:
        assert self.process is not None
        self.process.is_stopped = True

    def resume(self) -> None:
        """Everything that came meanwhile is there at once, and what clients want first of all."""
        assert self.process is not None
        self.process.is_stopped = False
        if self.leads:
            self.read()
            self.propose()
        self._world.loop.resume(self.process)

    def deliver(self, message: Message) -> None:
        process, raft = self.process, self.raft
        if process is None or raft is None:
            return
        if process.is_stopped:
            process.backlog.append(Handle(raft.receive, ([message],), process.context, 0.0))
        else:
            process.context.run(raft.receive, [message])

    # What clients of this node ask it for

    def propose(self) -> None:
        assert self.raft is not None
        number, command = self._world.commands.next()
        term = self.raft.status.term if self._world.rng.random() < 0.2 else None
        self._spawn(self._propose(self.raft, number, command, term))

    def propose_in_another_term(self) -> None:
        assert self.raft is not None
        number, command = self._world.commands.next()
        self._spawn(self._propose(self.raft, number, command, self.raft.status.term - 1))

    def read(self) -> None:
        assert self.raft is not None
        self._spawn(self._read(self.raft))

    def transfer_leadership(self, to: str | None) -> None:
        assert self.raft is not None
        self._spawn(self._transfer(self.raft, to))

    def change_membership(self, change: Change, *, done: Callable[[], None]) -> None:
        """`done()` is called if it has come about."""
        assert self.raft is not None
        self._spawn(self._change(self.raft, change, done))

    async def _propose(self, raft: RaftNode, number: int, command: bytes, term: int | None) -> None:
        invariants = self._world.invariants
        committed_before = invariants.committed_index
        try:
            result = await raft.propose(command, term=term, timeout_s=self._world.rng.choice((0.2, 1.0, 5.0)))
        except (NotLeaderError, ProposalRefusedError):
            invariants.told_never(number, "refused")
        except ProposalDroppedError:
            invariants.told_never(number, "dropped")
        except OutcomeUnknownError:
            invariants.outcomes["unknown"] += 1
        else:
            invariants.told_result(number, result, committed_before)

    async def _read(self, raft: RaftNode) -> None:
        invariants = self._world.invariants
        committed_before = invariants.committed_index
        try:
            await raft.read_barrier(timeout_s=self._world.rng.choice((0.2, 1.0, 5.0)))
        except (NotLeaderError, OutcomeUnknownError):
            invariants.outcomes["read refused"] += 1
        else:
            assert self.machine is not None
            invariants.read_done(self.node_id, raft.status.last_applied, committed_before)

    async def _transfer(self, raft: RaftNode, to: str | None) -> None:
        term = raft.status.term
        try:
            await raft.transfer_leadership(to, timeout_s=5.0)
        except (NotLeaderError, OutcomeUnknownError, TransferFailedError):
            return
        status = raft.status
        leads = status.role is Role.LEADER and status.term == term
        require(not leads, "a transfer that is done", f"{self.node_id} still leads in term {term}")
        self._world.happened["transfers"] += 1

    async def _change(self, raft: RaftNode, change: Change, done: Callable[[], None]) -> None:
        with contextlib.suppress(RaftError):
            await raft.change_membership(change, timeout_s=2.0)
            self._world.happened[f"membership: {type(change).__name__}"] += 1
            done()

    async def _join(self) -> None:
        """What join_cluster does, without its network: asks leaders until one has added this node.

        And what an operator does before, if it takes the place of a member that lost its disk.
        """
        admission = self._admission
        while not admission.was_added:
            for leader in [node for node in self._world.nodes.values() if node.leads]:
                if admission.was_removed:
                    leader.change_membership(AddLearner(self.node_id, f"{self.node_id}:1"), done=admission.added)
                else:
                    leader.change_membership(Remove(self.node_id), done=admission.removed)
            await asyncio.sleep(0.5)

    # The process

    async def _start(self, raft: RaftNode) -> None:
        self._try_damage()
        try:
            await raft.start()
        except (OSError, StorageFullError):
            # Its process ends, and somebody starts it again.
            self.cut_power()
            return
        core = raft._owner.core
        assert core is not None
        base, entries = core._state.log.base.index, core._state.log
        self._log.begin_at(base, self._world.invariants.prefix(base))
        self._log.put(entries.entries_between(base + 1, entries.last_index))
        self._commit_index = core.commit_index
        self._voters = core.configuration.voters
        self._led_term = 0
        take_ready = core.ready

        def ready() -> Ready | None:
            taken = take_ready()
            self._observe(core, taken)
            return taken

        setattr(core, "ready", ready)  # noqa: B010 a method is replaced
        self._world.happened["starts"] += 1

    async def _stop(self, raft: RaftNode) -> None:
        await raft.stop()
        self.kill()

    def _ended(self, status: int, error: BaseException) -> None:
        del status
        if isinstance(error, OSError) and error.errno == errno.EIO:
            self._world.happened["failed syncs"] += 1
            self.cut_power()
        else:
            self._world.loop.failure = error

    def _forget_process(self) -> None:
        assert self.process is not None
        self.process.is_alive = False
        self.process = self.raft = self.machine = None
        self.went_down(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self.process is not None
        self.process.context.run(self._world.loop.create_task, self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 it must not get lost in a task
            self._world.loop.failure = error

    def _send(self, message: Message) -> None:
        assert self.network is not None
        self._world.invariants.message_sent(message, self.witness.hard_state)
        self.network.send(message)

    def _observe(self, core: RaftCore, ready: Ready | None) -> None:
        invariants, log = self._world.invariants, core._state.log
        if ready is not None:
            if ready.snapshot is not None:
                index = ready.snapshot.last_included_index
                self._log.begin_at(index, invariants.prefix(index))
                self._world.happened["snapshots installed"] += 1
            if ready.entries:
                self._log.put(ready.entries)
                invariants.entries_taken(self._log, ready.entries)
        if log.commit_index != self._commit_index:
            invariants.committed(self._log, self._commit_index, self._voters, core)
            self._commit_index = log.commit_index
        self._voters = log.configuration.voters
        if core.role is Role.LEADER and self._led_term != core.current_term:
            self._led_term = core.current_term
            invariants.elected(self.node_id, core.current_term, self._log, core.configuration.voters)

    # Damage

    def _storage(self, files: SimulatedFiles) -> FileStorage:
        return FileStorage(
            _DIRECTORY,
            cluster_id="simulated",
            node_id=self.node_id,
            file_bytes_max=_FILE_BYTES_MAX,
            space_bytes=_SPACE_BYTES,
            files=files,
        )

    def _try_damage(self) -> None:
        """On a copy of the disk a bit is flipped: it is refused, or it was one that nobody reads."""
        if self._world.rng.random() >= 0.1:
            return
        clean, damaged = self.files.copy(), self.files.copy()
        contents = damaged.contents()
        name = self._world.rng.choice(sorted(contents) or [""])
        bytes_checked = _bytes_checked(name, contents)
        if not bytes_checked:
            return
        contents[name][self._world.rng.randrange(bytes_checked)] ^= 1 << self._world.rng.randrange(8)
        try:
            found = _read(self._storage(damaged))
        except LogDamagedError:
            self._world.happened["damages refused"] += 1
            return
        require(found == _read(self._storage(clean)), "damage is never served", f"{name} of {self.node_id}")


def _read(storage: FileStorage) -> StoredState:
    state = storage.open()
    storage.close()
    return state


def _bytes_checked(name: str, contents: dict[str, bytearray]) -> int:
    """How far damage cannot be taken for a write that the power cut short: to the last record of the last file."""
    logs = sorted(other for other in contents if other.startswith("log-") and other.endswith(".raft"))
    if name.endswith(".new") or not name.endswith(".raft"):
        return 0
    data = bytes(contents[name])
    if name.startswith("snapshot-") or name != logs[-1]:
        return len(data)
    header = read_frame(data, 0)
    assert header is not None
    found = scan(name, data, header.end, int(name[4:-5]))
    ends = [header.end, *(frame.end for frame in found.frames)]
    return ends[-2] if len(ends) > 1 else header.end
