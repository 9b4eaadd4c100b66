"""The one task that owns a node's core, and what wakes it.

Each of its rounds takes all that has come (writes that have become durable, messages, a tick, proposals, reads), then
does one Ready by the rules in core/ready.py. It never waits for the disk or for a peer.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from utils.formats import FormatTooNewError
from utils.observe.logging import get_logger
from utils.raft.config import RaftConfig
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Message
from utils.raft.core.ready import ConfigurationChanged, Ready, Role, TransferGivenUp
from utils.raft.errors import NotLeaderError
from utils.raft.io.addresses import Addresses
from utils.raft.io.applier import Applier
from utils.raft.io.callers import Callers
from utils.raft.io.event_log import log_event
from utils.raft.io.failure import FORMAT_TOO_NEW, INVARIANT_BROKEN, end_process
from utils.raft.io.membership import look_after_members
from utils.raft.io.snapshots import SnapshotKeeper
from utils.raft.io.status import RaftStatus, StatusWatch, Watched
from utils.raft.io.storage import Storage, StoredState
from utils.raft.io.ticker import Ticker
from utils.raft.io.transport import Transport
from utils.raft.io.writer import LogWriter
from utils.raft.state_machine import StateMachine

log = get_logger()

# Timeouts are drawn in steps of a tick: the finer they are, the rarer two nodes campaign at once.
_TICKS_PER_HEARTBEAT = 3
# What one node's peers can have on the way at most is far below; beyond this messages are dropped.
_INBOX_MAX = 4_096


class Owner:
    """Lives in one event loop. It has a core from `start` on."""

    def __init__(
        self,
        config: RaftConfig,
        machine: StateMachine,
        *,
        storage: Storage,
        transport: Transport,
        addresses: Addresses,
        random_ticks: Callable[[int, int], int],
        limits: Limits,
    ) -> None:
        self._config = config
        self._transport = transport
        self._addresses = addresses
        self._random_ticks = random_ticks
        self._limits = limits
        tick_s = config.heartbeat_interval_ms / _TICKS_PER_HEARTBEAT / 1_000
        self._election_ticks = round(config.election_timeout_ms / 1_000 / tick_s)
        self._ticker = Ticker(tick_s, self._on_tick)
        self._writer = LogWriter(storage, self._on_written, self._on_full)
        self.callers = Callers(orphan_ticks=2 * self._election_ticks)
        self.snapshots = SnapshotKeeper(
            storage,
            entries=config.snapshot_entries,
            log_bytes=config.snapshot_log_bytes,
            saved=lambda index: self.tell(lambda core: core.compact(index)),
            found=lambda snapshot: self.tell(lambda core: core.bring_snapshot(snapshot)),
        )
        self.applier = Applier(machine, self.callers.proposals, self.snapshots)
        self.core: RaftCore | None = None
        self._inbox: list[Message] = []
        # What others have found out or done, as the core is to be told.
        self._news: list[Callable[[RaftCore], None]] = []
        self._is_tick_due = False
        self._ticks = 0
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_full = self._is_stopped = False
        self._watch = StatusWatch()

    def start(self, stored: StoredState) -> None:
        """From what the disk holds. Raises FormatTooNewError."""
        try:
            self.applier.restore(stored.snapshot)
        except FormatTooNewError as error:
            raise error.at(f"the snapshot in {self._config.data_dir}") from None
        self.core = RaftCore(
            node_id=self._config.node_id,
            voters={} if self._config.join else self._config.peers,
            hard_state=stored.hard_state,
            snapshot=stored.snapshot,
            base=stored.base,
            entries=stored.entries,
            random_ticks=self._random_ticks,
            election_ticks=self._election_ticks,
            heartbeat_ticks=_TICKS_PER_HEARTBEAT,
            limits=self._limits,
        )
        log.info("the log was read", term=stored.hard_state.current_term, last_log_index=self.core.last_index)
        self._addresses.configured = self.core.configuration.members
        self._writer.start()
        self._task = asyncio.create_task(self._run(self.core))
        self._ticker.start()
        self._publish()

    async def stop(self) -> None:
        """Lets a write that has begun end; everybody who waits is told."""
        self._is_stopped = True
        self._ticker.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._writer.stop()
        await self.snapshots.stop()
        self.callers.close(self.not_leader())
        self._publish()

    def wake(self) -> None:
        """Somebody has asked `callers` for something."""
        self._work.set()

    def tell(self, news: Callable[[RaftCore], None]) -> None:
        """Soon, in the order of the calls."""
        self._news.append(news)
        self._work.set()

    def receive(self, messages: list[Message]) -> None:
        """Never blocks."""
        if len(self._inbox) + len(messages) <= _INBOX_MAX:
            self._inbox += messages
            self._work.set()

    @property
    def leads(self) -> bool:
        """As far as this node knows; one that does not run, or whose disk is full, does not."""
        return self.core is not None and not self._is_absent and self.core.role is Role.LEADER

    @property
    def status(self) -> RaftStatus:
        core, watched = self.core, self._watched
        return RaftStatus(
            node_id=self._config.node_id,
            role=watched.role,
            term=watched.term,
            leader_id=watched.leader_id,
            leader_address=self._address_of(watched.leader_id),
            commit_index=core.commit_index if core is not None else 0,
            last_applied=self.applier.last_applied.index,
            last_log_index=core.last_index if core is not None else 0,
            ready=watched.ready,
            configuration_index=watched.configuration_index,
        )

    def changed(self) -> Coroutine[Any, Any, None]:
        """See `RaftNode.changed`."""
        return self._watch.changed()

    def not_leader(self) -> NotLeaderError:
        leader_id = self._watched.leader_id
        return NotLeaderError(leader_id, self._address_of(leader_id))

    async def _run(self, core: RaftCore) -> None:
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
                if core.has_more_committed:
                    self._work.set()
                if ready is not None:
                    # Others want the loop, too.
                    await asyncio.sleep(0)
        except FormatTooNewError as error:
            where = f"entry {self.applier.last_applied.index + 1} or a snapshot in {self._config.data_dir}"
            end_process(FORMAT_TOO_NEW, "a Raft node cannot go on", error.at(where))
        except Exception as error:  # noqa: BLE001 a broken invariant of the core, or a state machine that raised
            end_process(INVARIANT_BROKEN, "a Raft node cannot go on", error)

    def _take_input(self, core: RaftCore) -> None:
        news, self._news = self._news, []
        for tell in news:
            tell(core)
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            core.step(message)
        # After the messages: a process that was stopped for long first hears what it has missed.
        if self._is_tick_due:
            self._is_tick_due = False
            core.tick()
            self.callers.tick(core)
            self._ticks += 1
            if self._ticks % self._election_ticks == 0:
                look_after_members(core, self._addresses)
        if self.callers.has_new:
            self.callers.begin(core, self._address_of(core.leader_id))

    def _do(self, core: RaftCore, ready: Ready) -> None:
        for event in ready.events:
            log_event(event)
            if isinstance(event, ConfigurationChanged):
                self._addresses.configured = event.configuration.members
                self._transport.keep(event.configuration.members)
            if isinstance(event, TransferGivenUp):
                self.callers.transfers.given_up(event.target)
        self._transport.send(ready.early_messages)
        needs_disk = ready.hard_state is not None or ready.entries or ready.compaction is not None
        if not needs_disk and self._writer.is_idle:
            self._transport.send(ready.messages)
        elif needs_disk or ready.messages:
            self._writer.put(ready)
        if ready.snapshot is not None:
            self.applier.restore(ready.snapshot)
        self.applier.apply(ready.committed)
        last_applied = self.applier.last_applied.index
        core.applied(last_applied)
        for read_id, index in ready.confirmed_reads:
            self.callers.reads.confirmed(read_id, index)
        self.callers.reads.applied(last_applied)
        if ready.needs_snapshot:
            self.snapshots.find()

    def _publish(self) -> None:
        if self._watch.publish(self._watched):
            self.callers.lost_leadership(self.not_leader(), self._watched.term)

    @property
    def _watched(self) -> Watched:
        core = self.core
        if core is None:
            return Watched(Role.FOLLOWER, 0, None, ready=False, configuration_index=0)
        term, configuration_index = core.current_term, core.configuration_index
        if self._is_absent:
            return Watched(Role.FOLLOWER, term, None, ready=False, configuration_index=configuration_index)
        is_ready = core.is_ready and self.applier.last_applied.term == term
        return Watched(core.role, term, core.leader_id, is_ready, configuration_index)

    @property
    def _is_absent(self) -> bool:
        return self._is_stopped or self._is_full

    def _address_of(self, node_id: str | None) -> str | None:
        return self._addresses.of(node_id) if node_id is not None else None

    def _on_tick(self) -> None:
        self._is_tick_due = True
        self._work.set()

    def _on_written(self, ready: Ready) -> None:
        self._transport.send(ready.messages)
        if ready.entries:
            last = ready.entries[-1]
            self.tell(lambda core: core.persisted(last.index, last.term))

    def _on_full(self, is_full: bool) -> None:
        """A node without space acts like one that is stopped: it says and hears nothing, and others take over."""
        self._is_full = is_full
        if is_full:
            self.callers.close(self.not_leader())
        self._publish()
        self._work.set()
