"""A node of a replicated state machine: the core, with a disk, peers, a clock and people who wait for answers.

One task owns the core. Each of its rounds takes all that has come (messages, proposals, reads, a tick, writes that
have become durable), then does one Ready by the rules in core/ready.py.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from utils.formats import FormatTooNewError
from utils.observe.logging import get_logger
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.config import RaftConfig
from utils.raft.core.configuration import Change
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Message
from utils.raft.core.ready import ConfigurationChanged, Ready, Role, TransferGivenUp
from utils.raft.errors import NotLeaderError, RaftError
from utils.raft.io.addresses import Addresses
from utils.raft.io.admin_servicer import RaftAdminServicer
from utils.raft.io.applier import Applier
from utils.raft.io.callers import Callers, within
from utils.raft.io.event_log import log_event
from utils.raft.io.failure import FORMAT_TOO_NEW, INVARIANT_BROKEN, end_process
from utils.raft.io.joining import join_cluster
from utils.raft.io.membership import look_after_members
from utils.raft.io.servicer import RaftServicer
from utils.raft.io.snapshots import SnapshotKeeper
from utils.raft.io.status import MemberStatus, RaftStatus, StatusWatch, Watched, members_of
from utils.raft.io.storage import FileStorage, Storage
from utils.raft.io.suspicion import Suspicion
from utils.raft.io.ticker import Ticker
from utils.raft.io.transport import GrpcTransport, Transport
from utils.raft.io.writer import LogWriter
from utils.raft.state_machine import StateMachine
from utils.rpc.server import RpcServer
from utils.rpc.transport import Credentials

log = get_logger()

# Timeouts are drawn in steps of a tick: the finer they are, the rarer two nodes campaign at once.
_TICKS_PER_HEARTBEAT = 3
# What one node's peers can have on the way at most is far below; beyond this messages are dropped.
_INBOX_MAX = 4_096
# Few are applied in one round: a long log after a restart must not keep the node from its heartbeats.
LIMITS = Limits(committed_per_ready=256)


class RaftNode:
    """Lives in one event loop. Stop it before the server it was added to."""

    def __init__(
        self,
        config: RaftConfig,
        machine: StateMachine,
        *,
        credentials: Credentials | None = None,
        storage: Storage | None = None,
        transport: Transport | None = None,
        random_ticks: Callable[[int, int], int] = random.randint,
        limits: Limits = LIMITS,
    ) -> None:
        """What follows `credentials` is for tests: without it, files in `config.data_dir`, gRPC and real chance."""
        self._config = config
        self._random_ticks = random_ticks
        self._limits = limits
        self._storage = storage or FileStorage(
            Path(config.data_dir) / "raft", cluster_id=config.cluster_id, node_id=config.node_id
        )
        self._transport = transport or GrpcTransport(
            cluster_id=config.cluster_id, node_id=config.node_id, credentials=credentials
        )
        self._credentials = credentials
        self._addresses = Addresses(config.node_id, config.peers)
        self._servicer = RaftServicer(self, cluster_id=config.cluster_id, node_id=config.node_id)
        self._writer = LogWriter(self._storage, self._on_written, self._on_full)
        tick_s = config.heartbeat_interval_ms / _TICKS_PER_HEARTBEAT / 1_000
        self._ticker = Ticker(tick_s, self._on_tick)
        self._callers = Callers(orphan_ticks=2 * round(config.election_timeout_ms / 1_000 / tick_s))
        self._snapshots = SnapshotKeeper(
            self._storage,
            entries=config.snapshot_entries,
            log_bytes=config.snapshot_log_bytes,
            saved=lambda index: self._tell_core(lambda core: core.compact(index)),
            found=lambda snapshot: self._tell_core(lambda core: core.bring_snapshot(snapshot)),
        )
        self._suspicion = Suspicion(lambda peer: self._tell_core(lambda core: core.suspect(peer)))
        self._applier = Applier(machine, self._callers.proposals, self._snapshots)
        self._inbox: list[Message] = []
        # What the disk has done, as the core is to be told.
        self._news: list[Callable[[RaftCore], None]] = []
        self._is_tick_due = False
        self._election_ticks = round(config.election_timeout_ms / 1_000 / tick_s)
        self._ticks = 0
        self._is_full = False
        self._joining: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        self._core: RaftCore | None = None
        self._owner: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._watch = StatusWatch()

    def add_to(self, server: RpcServer) -> None:
        """Serves RaftService and RaftAdminService on `server`."""
        raft_pb2_grpc.add_RaftServiceServicer_to_server(self._servicer, server)  # type: ignore[arg-type]
        raft_pb2_grpc.add_RaftAdminServiceServicer_to_server(RaftAdminServicer(self), server)  # type: ignore[arg-type]

    async def start(self) -> None:
        """Reads the log and begins to take part, or to ask for that: see `RaftConfig.join`.

        Raises LogDamagedError, FormatTooNewError, and ConfigError if the log is another's.
        """
        stored = await asyncio.to_thread(self._storage.open)
        try:
            self._applier.restore(stored.snapshot)
        except FormatTooNewError as error:
            raise error.at(f"the snapshot in {self._config.data_dir}") from None
        self._core = RaftCore(
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
        log.info("the log was read", term=stored.hard_state.current_term, last_log_index=self._core.last_index)
        self._addresses.configured = self._core.configuration.members
        if self._config.join and stored.is_empty:
            self._joining = asyncio.create_task(self._join())
        self._writer.start()
        self._transport.start(self._addresses)
        self._owner = asyncio.create_task(self._own(self._core))
        self._ticker.start()
        self._publish()

    async def stop(self) -> None:
        """Hands leadership over, if it leads, and takes no further part.

        Proposals that are in flight then end with OutcomeUnknownError.
        """
        await self._hand_over()
        self._is_stopped = True
        self._ticker.stop()
        self._servicer.stop()
        tasks = [task for task in (self._owner, self._joining) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._suspicion.stop()
        await self._writer.stop()
        await self._snapshots.stop()
        await self._transport.close()
        self._callers.close(self._not_leader())
        self._publish()
        await asyncio.to_thread(self._storage.close)

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any:
        """What the state machine's `apply` returned for the command on this node, once it is committed.

        With `term`, it is proposed in that term or not at all. Raises NotLeaderError, ProposalRefusedError (nothing was
        proposed), ProposalDroppedError (it never will be applied), OutcomeUnknownError (also after `timeout_s`).
        """
        if not self._leads or (term is not None and term != self.status.term):
            raise self._not_leader()
        proposal = self._callers.proposals.add(command, term)
        self._work.set()
        return await within(timeout_s, proposal.future, "the command was not committed")

    async def read_barrier(self, *, timeout_s: float) -> None:
        """When it returns, the state machine here has all that was committed anywhere before the call.

        Raises NotLeaderError; OutcomeUnknownError after `timeout_s`.
        """
        if not self._leads:
            raise self._not_leader()
        future = self._callers.reads.add()
        self._work.set()
        await within(timeout_s, future, "leadership was not confirmed")

    async def transfer_leadership(self, to: str | None = None, *, timeout_s: float) -> None:
        """Hands leadership over to the node `to`, or to the one that is most caught up; this node leads no more then.

        Meanwhile it is not ready and takes no proposals. Raises NotLeaderError; TransferFailedError if there is no such
        node, or it does not take over within the longest election timeout; OutcomeUnknownError after `timeout_s`.
        """
        if not self._leads:
            raise self._not_leader()
        future = self._callers.transfers.add(to)
        self._work.set()
        await within(timeout_s, future, "leadership was not handed over")

    async def change_membership(self, change: Change, *, timeout_s: float) -> None:
        """Returns once the change is committed; it waits for one that is in flight.

        Raises NotLeaderError, MembershipRefusedError, ProposalRefusedError (nothing has changed), ProposalDroppedError
        (nor will it), OutcomeUnknownError (also after `timeout_s`).
        """
        if not self._leads:
            raise self._not_leader()
        future = self._callers.membership.add(change).future
        self._work.set()
        await within(timeout_s, future, "the change of membership was not committed")

    async def take_snapshot(self, *, timeout_s: float) -> int:
        """The last included index of a durable snapshot of the state as it is, or newer.

        Raises ProposalRefusedError if there is no space; OutcomeUnknownError after `timeout_s`.
        """
        saving = asyncio.ensure_future(self._applier.save_snapshot())
        return await within(timeout_s, saving, "the snapshot was not written")

    @property
    def cluster_id(self) -> str:
        return self._config.cluster_id

    @property
    def members(self) -> tuple[MemberStatus, ...]:
        """Of the newest configuration that this node has; empty before it has started."""
        return members_of(self._core) if self._core is not None else ()

    @property
    def snapshot_index(self) -> int:
        return self._snapshots.index

    @property
    def status(self) -> RaftStatus:
        """This node now. One that does not run, or whose disk is full, neither leads nor knows a leader."""
        core, watched = self._core, self._watched
        return RaftStatus(
            node_id=self._config.node_id,
            role=watched.role,
            term=watched.term,
            leader_id=watched.leader_id,
            leader_address=self._address_of(watched.leader_id),
            commit_index=core.commit_index if core is not None else 0,
            last_applied=self._applier.last_applied.index,
            last_log_index=core.last_index if core is not None else 0,
            ready=watched.ready,
            configuration_index=watched.configuration_index,
        )

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until role, term, leader, readiness or configuration is another than when it was called.

        The call counts, not the first step of waiting: no change is missed when a task is made of it.
        """
        return self._watch.changed()

    def receive(self, messages: list[Message], address: str = "") -> None:
        """Messages of a peer, which says that it is reached at `address`; never blocks."""
        if self._joining is not None and not self._joining.done():
            return
        for message in messages:
            self._transport.heard(message.sender)
            if address:
                self._addresses.heard(message.sender, address)
        if len(self._inbox) + len(messages) <= _INBOX_MAX:
            self._inbox += messages
            self._work.set()

    def is_stranger(self, sender: str) -> bool:
        """`sender` is no member, as a leader who is heard would know."""
        return self._core is not None and self._core.is_stranger(sender)

    def stream_ended(self, peer: str) -> None:
        """A stream of `peer` to this node has ended, for whatever reason."""
        address = self._addresses.of(peer)
        if not self._is_stopped and peer == self.status.leader_id and address is not None:
            self._suspicion.stream_ended(peer, address)

    async def _hand_over(self) -> None:
        """So that the others need not find out that it is gone; but who stops does not wait for them for long."""
        if not self._leads or sum(member.is_voter for member in self.members) == 1:
            return
        try:
            await self.transfer_leadership(timeout_s=2 * self._config.election_timeout_ms / 1_000)
        except RaftError as error:
            log.info("leadership was not handed over", why=str(error))

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
                if core.has_more_committed:
                    self._work.set()
                if ready is not None:
                    # Others want the loop, too.
                    await asyncio.sleep(0)
        except FormatTooNewError as error:
            where = f"entry {self._applier.last_applied.index + 1} or a snapshot in {self._config.data_dir}"
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
            self._callers.tick(core)
            self._ticks += 1
            if self._ticks % self._election_ticks == 0:
                look_after_members(core, self._addresses)
        if self._callers.has_new:
            self._callers.begin(core, self._address_of(core.leader_id))

    def _do(self, core: RaftCore, ready: Ready) -> None:
        for event in ready.events:
            log_event(event)
            if isinstance(event, ConfigurationChanged):
                self._addresses.configured = event.configuration.members
                self._transport.keep(event.configuration.members)
            if isinstance(event, TransferGivenUp):
                self._callers.transfers.given_up(event.target)
        self._transport.send(ready.early_messages)
        needs_disk = ready.hard_state is not None or ready.entries or ready.compaction is not None
        if not needs_disk and self._writer.is_idle:
            self._transport.send(ready.messages)
        elif needs_disk or ready.messages:
            self._writer.put(ready)
        if ready.snapshot is not None:
            self._applier.restore(ready.snapshot)
        self._applier.apply(ready.committed)
        last_applied = self._applier.last_applied.index
        core.applied(last_applied)
        for read_id, index in ready.confirmed_reads:
            self._callers.reads.confirmed(read_id, index)
        self._callers.reads.applied(last_applied)
        if ready.needs_snapshot:
            self._snapshots.find()

    async def _join(self) -> None:
        config = self._config
        request = raft_pb2.JoinRequest(
            cluster_id=config.cluster_id, node_id=config.node_id, address=self._addresses.own
        )
        try:
            await join_cluster(request, config.join, self._credentials)
        except Exception as error:  # noqa: BLE001 no failure of a call: those are tried again
            end_process(INVARIANT_BROKEN, "a Raft node cannot join", error)

    def _publish(self) -> None:
        if self._watch.publish(self._watched):
            self._callers.lost_leadership(self._not_leader(), self.status.term)

    @property
    def _watched(self) -> Watched:
        core = self._core
        if core is None:
            return Watched(Role.FOLLOWER, 0, None, ready=False, configuration_index=0)
        term, configuration_index = core.current_term, core.configuration_index
        if self._is_absent:
            return Watched(Role.FOLLOWER, term, None, ready=False, configuration_index=configuration_index)
        is_ready = core.is_ready and self._applier.last_applied.term == term
        return Watched(core.role, term, core.leader_id, is_ready, configuration_index)

    # What wakes it

    def _on_tick(self) -> None:
        self._is_tick_due = True
        self._work.set()

    def _on_written(self, ready: Ready) -> None:
        self._transport.send(ready.messages)
        if ready.entries:
            last = ready.entries[-1]
            self._tell_core(lambda core: core.persisted(last.index, last.term))

    def _tell_core(self, news: Callable[[RaftCore], None]) -> None:
        self._news.append(news)
        self._work.set()

    def _on_full(self, is_full: bool) -> None:
        """A node without space acts like one that is stopped: it says and hears nothing, and others take over."""
        self._is_full = is_full
        if is_full:
            self._callers.close(self._not_leader())
        self._publish()
        self._work.set()

    def _address_of(self, node_id: str | None) -> str | None:
        return self._addresses.of(node_id) if node_id is not None else None

    @property
    def _is_absent(self) -> bool:
        return self._is_stopped or self._is_full

    @property
    def _leads(self) -> bool:
        return self._core is not None and not self._is_absent and self._core.role is Role.LEADER

    def _not_leader(self) -> NotLeaderError:
        status = self.status
        return NotLeaderError(status.leader_id, status.leader_address)
