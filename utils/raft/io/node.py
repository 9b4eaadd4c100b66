"""A node of a replicated state machine: the core, with a disk, peers, a clock and people who wait for answers.

One task owns the core. Each of its rounds takes all that has come (messages, proposals, reads, a tick, writes that
have become durable), then does one Ready by the rules in core/ready.py.
"""

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from utils.observe.logging import get_logger
from utils.pb import raft_pb2_grpc
from utils.raft.config import RaftConfig
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Entry, EntryKind, LogBase, Message
from utils.raft.core.ready import Event, Ready, Role, RoleChanged
from utils.raft.errors import NotLeaderError, OutcomeUnknownError
from utils.raft.io.failure import INVARIANT_BROKEN, end_process
from utils.raft.io.proposals import Proposals, ReadBarriers
from utils.raft.io.servicer import RaftServicer
from utils.raft.io.status import RaftStatus
from utils.raft.io.storage import FileStorage, Storage
from utils.raft.io.ticker import Ticker
from utils.raft.io.transport import GrpcTransport, Transport
from utils.raft.io.writer import LogWriter
from utils.raft.state_machine import StateMachine
from utils.rpc.server import RpcServer
from utils.rpc.transport import INSECURE, Credentials

log = get_logger()

# A heartbeat is two ticks, so that timeouts are drawn in steps of half a heartbeat.
_TICKS_PER_HEARTBEAT = 2
# What one node's peers can have on the way at most is far below; beyond this messages are dropped.
_INBOX_MAX = 4_096
# Applied in one round: a long log after a restart must not keep the node from its heartbeats.
_ENTRIES_APPLIED_MAX = 256


class RaftNode:
    """Lives in one event loop. Stop it before the server it was added to."""

    def __init__(
        self,
        config: RaftConfig,
        machine: StateMachine,
        *,
        credentials: Credentials = INSECURE,
        storage: Storage | None = None,
        transport: Transport | None = None,
    ) -> None:
        """`storage` and `transport` are for tests: without them, files in `config.data_dir` and gRPC."""
        self._config = config
        self._machine = machine
        self._storage = storage or FileStorage(
            Path(config.data_dir) / "raft", cluster_id=config.cluster_id, node_id=config.node_id
        )
        self._transport = transport or GrpcTransport(
            cluster_id=config.cluster_id, node_id=config.node_id, peers=config.peers, credentials=credentials
        )
        self._servicer = RaftServicer(
            self, cluster_id=config.cluster_id, node_id=config.node_id, peers=frozenset(config.peers)
        )
        self._writer = LogWriter(self._storage, self._on_written, self._on_full)
        tick_s = config.heartbeat_interval_ms / _TICKS_PER_HEARTBEAT / 1_000
        self._ticker = Ticker(tick_s, self._on_tick)
        # How long a deposed leader waits for its successor to tell what became of its proposals.
        self._orphan_ticks = round(2 * config.election_timeout_ms / 1_000 / tick_s)
        self._orphan_ticks_left: int | None = None
        self._proposals = Proposals()
        self._reads = ReadBarriers()
        self._inbox: list[Message] = []
        self._written: list[Ready] = []
        self._is_tick_due = False
        self._is_full = False
        self._work = asyncio.Event()
        self._core: RaftCore | None = None
        self._last_applied = 0
        self._last_applied_term = 0
        self._owner: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._published: tuple[Role, int, str | None, bool] | None = None
        self._change = asyncio.Event()

    def add_to(self, server: RpcServer) -> None:
        """Serves RaftService on `server`."""
        raft_pb2_grpc.add_RaftServiceServicer_to_server(self._servicer, server)  # type: ignore[arg-type]

    async def start(self) -> None:
        """Reads the log and begins to take part. Raises LogDamagedError, and ConfigError if the log is another's."""
        stored = await asyncio.to_thread(self._storage.open)
        if stored.snapshot.last_included_index:
            self._machine.restore(stored.snapshot.data)
        self._last_applied = stored.snapshot.last_included_index
        tick_ms = self._config.heartbeat_interval_ms / _TICKS_PER_HEARTBEAT
        self._core = RaftCore(
            node_id=self._config.node_id,
            voters=tuple(self._config.peers),
            hard_state=stored.hard_state,
            snapshot=stored.snapshot,
            base=LogBase(),
            entries=stored.entries,
            random_ticks=random.randint,
            election_ticks=round(self._config.election_timeout_ms / tick_ms),
            heartbeat_ticks=_TICKS_PER_HEARTBEAT,
            limits=Limits(committed_per_ready=_ENTRIES_APPLIED_MAX),
        )
        log.info("the log was read", term=stored.hard_state.current_term, last_log_index=self._core.last_index)
        self._writer.start()
        self._transport.start()
        self._owner = asyncio.create_task(self._own(self._core))
        self._ticker.start()
        self._publish()

    async def stop(self) -> None:
        """Takes no further part. Proposals in flight end with OutcomeUnknownError."""
        self._is_stopped = True
        self._ticker.stop()
        self._servicer.stop()
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait((self._owner,))
        await self._writer.stop()
        await self._transport.close()
        self._give_up_all()
        self._publish()
        await asyncio.to_thread(self._storage.close)

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any:
        """What the state machine's `apply` returned for the command on this node, once it is committed.

        With `term`, it is proposed in that term or not at all. Raises NotLeaderError, ProposalRefusedError (nothing was
        proposed), ProposalDroppedError (it never will be applied), OutcomeUnknownError (also after `timeout_s`).
        """
        if not self._leads or (term is not None and term != self.status.term):
            raise self._not_leader()
        proposal = self._proposals.add(command, term)
        self._work.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await proposal.future
        except TimeoutError:
            raise OutcomeUnknownError(f"the command was not committed within {timeout_s:.3f} s") from None

    async def read_barrier(self, *, timeout_s: float) -> None:
        """When it returns, the state machine here has all that was committed anywhere before the call.

        Raises NotLeaderError; OutcomeUnknownError after `timeout_s`.
        """
        if not self._leads:
            raise self._not_leader()
        future = self._reads.add()
        self._work.set()
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise OutcomeUnknownError(f"leadership was not confirmed within {timeout_s:.3f} s") from None

    @property
    def status(self) -> RaftStatus:
        """This node now. One that does not run, or whose disk is full, neither leads nor knows a leader."""
        core = self._core
        role, leader_id = Role.FOLLOWER, None
        if core is not None and not self._is_absent:
            role, leader_id = core.role, core.leader_id
        return RaftStatus(
            node_id=self._config.node_id,
            role=role,
            term=core.current_term if core is not None else 0,
            leader_id=leader_id,
            leader_address=self._config.peers.get(leader_id) if leader_id is not None else None,
            commit_index=core.commit_index if core is not None else 0,
            last_applied=self._last_applied,
            last_log_index=core.last_index if core is not None else 0,
            ready=core is not None and role is Role.LEADER and self._last_applied_term == core.current_term,
        )

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until role, term, leader or readiness is another than when it was called.

        The call counts, not the first step of waiting: no change is missed when a task is made of it.
        """
        return _wait(self._change)

    def receive(self, messages: list[Message]) -> None:
        """Messages of peers; never blocks."""
        for message in messages:
            self._transport.heard(message.sender)
        if len(self._inbox) + len(messages) <= _INBOX_MAX:
            self._inbox += messages
            self._work.set()

    # The owner

    async def _own(self, core: RaftCore) -> None:
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                if self._is_full:
                    continue
                self._take_input(core)
                ready = core.ready()
                if ready is not None:
                    self._do(core, ready)
                self._publish()
                if ready is not None:
                    # There may be more, and others want the loop in between.
                    self._work.set()
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 a broken invariant of the core, or a state machine that raised
            end_process(INVARIANT_BROKEN, "a Raft node cannot go on", error)

    def _take_input(self, core: RaftCore) -> None:
        written, self._written = self._written, []
        for ready in written:
            core.persisted(ready.entries[-1].index, ready.entries[-1].term)
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            core.step(message)
        # After the messages: a process that was stopped for long first hears what it has missed.
        if self._is_tick_due:
            self._is_tick_due = False
            core.tick()
            self._tick_orphans(core)
        leader_address = self.status.leader_address
        self._proposals.propose(core, leader_address)
        self._reads.request(core, leader_address)

    def _do(self, core: RaftCore, ready: Ready) -> None:
        for event in ready.events:
            self._log_event(event)
        self._transport.send(ready.early_messages)
        if ready.hard_state is None and not ready.entries and self._writer.is_idle:
            self._transport.send(ready.messages)
        elif ready.hard_state is not None or ready.entries or ready.messages:
            self._writer.put(ready)
        for entry in ready.committed:
            self._apply(entry)
        core.applied(self._last_applied)
        for read_id, index in ready.confirmed_reads:
            self._reads.confirmed(read_id, index)
        self._reads.applied(self._last_applied)

    def _apply(self, entry: Entry) -> None:
        assert entry.index == self._last_applied + 1, f"{entry.index} was to be applied after {self._last_applied}"
        result = self._machine.apply(entry.index, entry.data) if entry.kind is EntryKind.COMMAND else None
        self._last_applied = entry.index
        self._last_applied_term = entry.term
        self._proposals.committed(entry.index, entry.term, result)

    def _tick_orphans(self, core: RaftCore) -> None:
        if self._orphan_ticks_left is None:
            return
        self._orphan_ticks_left -= 1
        if self._orphan_ticks_left <= 0:
            self._orphan_ticks_left = None
            self._proposals.give_up_before(core.current_term if core.role is Role.LEADER else core.current_term + 1)

    def _publish(self) -> None:
        status = self.status
        now = (status.role, status.term, status.leader_id, status.ready)
        before, self._published = self._published, now
        if now == before:
            return
        if before is not None and before[0] is Role.LEADER and now[:2] != before[:2]:
            self._reads.lost_leadership(self._not_leader())
            if self._proposals.is_any_in_log:
                self._orphan_ticks_left = self._orphan_ticks
        if status.ready:
            log.info("this node leads and is ready", term=status.term, commit_index=status.commit_index)
        change, self._change = self._change, asyncio.Event()
        change.set()

    def _log_event(self, event: Event) -> None:
        if isinstance(event, RoleChanged):
            log.info("role changed", role=event.role.value, term=event.term, leader_id=event.leader_id, why=event.why)
        else:
            log.info("entries were replaced", first=event.first_index, last=event.last_index, term=event.term)

    # What wakes it

    def _on_tick(self) -> None:
        self._is_tick_due = True
        self._work.set()

    def _on_written(self, ready: Ready) -> None:
        self._transport.send(ready.messages)
        if ready.entries:
            self._written.append(ready)
            self._work.set()

    def _on_full(self, is_full: bool) -> None:
        """A node without space acts like one that is stopped: it says and hears nothing, and others take over."""
        self._is_full = is_full
        if is_full:
            self._give_up_all()
        self._publish()
        self._work.set()

    @property
    def _is_absent(self) -> bool:
        return self._is_stopped or self._is_full

    @property
    def _leads(self) -> bool:
        return self._core is not None and not self._is_absent and self._core.role is Role.LEADER

    def _not_leader(self) -> NotLeaderError:
        status = self.status
        return NotLeaderError(status.leader_id, status.leader_address)

    def _give_up_all(self) -> None:
        self._proposals.close(self._not_leader())
        self._reads.close(self._not_leader())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
