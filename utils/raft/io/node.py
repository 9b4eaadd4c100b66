"""A node of a replicated state machine, as its service sees it. What goes on inside is `owner.py`."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from utils.observe.logging import get_logger
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.config import RaftConfig
from utils.raft.core.configuration import Change
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Message
from utils.raft.errors import RaftError
from utils.raft.io.addresses import Addresses
from utils.raft.io.admin_servicer import RaftAdminServicer
from utils.raft.io.callers import within
from utils.raft.io.failure import INVARIANT_BROKEN, end_process
from utils.raft.io.joining import join_cluster
from utils.raft.io.owner import Owner
from utils.raft.io.servicer import RaftServicer
from utils.raft.io.status import MemberStatus, RaftStatus, members_of
from utils.raft.io.storage import FileStorage, Storage
from utils.raft.io.suspicion import Suspicion
from utils.raft.io.transport import GrpcTransport, Transport
from utils.raft.state_machine import StateMachine
from utils.rpc.server import RpcServer
from utils.rpc.transport import Credentials

log = get_logger()

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
        self._credentials = credentials
        self._storage = storage or FileStorage(
            Path(config.data_dir) / "raft", cluster_id=config.cluster_id, node_id=config.node_id
        )
        self._transport = transport or GrpcTransport(
            cluster_id=config.cluster_id, node_id=config.node_id, credentials=credentials
        )
        self._addresses = Addresses(config.node_id, config.peers)
        self._servicer = RaftServicer(self, cluster_id=config.cluster_id, node_id=config.node_id)
        self._owner = Owner(
            config,
            machine,
            storage=self._storage,
            transport=self._transport,
            addresses=self._addresses,
            random_ticks=random_ticks,
            limits=limits,
        )
        self._suspicion = Suspicion(lambda peer: self._owner.tell(lambda core: core.suspect(peer)))
        self._joining: asyncio.Task[None] | None = None

    def add_to(self, server: RpcServer) -> None:
        """Serves RaftService and RaftAdminService on `server`."""
        raft_pb2_grpc.add_RaftServiceServicer_to_server(self._servicer, server)  # type: ignore[arg-type]
        raft_pb2_grpc.add_RaftAdminServiceServicer_to_server(RaftAdminServicer(self), server)  # type: ignore[arg-type]

    async def start(self) -> None:
        """Reads the log and begins to take part, or to ask for that: see `RaftConfig.join`.

        Raises LogDamagedError, FormatTooNewError, and ConfigError if the log is another's.
        """
        stored = await asyncio.to_thread(self._storage.open)
        if self._config.join and stored.is_empty:
            self._joining = asyncio.create_task(self._join())
        self._transport.start(self._addresses)
        self._owner.start(stored)

    async def stop(self) -> None:
        """Hands leadership over, if it leads, and takes no further part.

        Proposals that are in flight then end with OutcomeUnknownError.
        """
        await self._hand_over()
        self._servicer.stop()
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        await self._owner.stop()
        await self._suspicion.stop()
        await self._transport.close()
        await asyncio.to_thread(self._storage.close)

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any:
        """What the state machine's `apply` returned for the command on this node, once it is committed.

        With `term`, it is proposed in that term or not at all. Raises NotLeaderError, ProposalRefusedError (nothing was
        proposed), ProposalDroppedError (it never will be applied), OutcomeUnknownError (also after `timeout_s`).
        """
        if not self._owner.leads or (term is not None and term != self.status.term):
            raise self._owner.not_leader()
        proposal = self._owner.callers.proposals.add(command, term)
        self._owner.wake()
        return await within(timeout_s, proposal.future, "the command was not committed")

    async def read_barrier(self, *, timeout_s: float) -> None:
        """When it returns, the state machine here has all that was committed anywhere before the call.

        Raises NotLeaderError; OutcomeUnknownError after `timeout_s`.
        """
        if not self._owner.leads:
            raise self._owner.not_leader()
        future = self._owner.callers.reads.add()
        self._owner.wake()
        await within(timeout_s, future, "leadership was not confirmed")

    async def transfer_leadership(self, to: str | None = None, *, timeout_s: float) -> None:
        """Hands leadership over to the node `to`, or to the one that is most caught up; this node leads no more then.

        Meanwhile it is not ready and takes no proposals. Raises NotLeaderError; TransferFailedError if there is no such
        node, or it does not take over within the longest election timeout; OutcomeUnknownError after `timeout_s`.
        """
        if not self._owner.leads:
            raise self._owner.not_leader()
        future = self._owner.callers.transfers.add(to)
        self._owner.wake()
        await within(timeout_s, future, "leadership was not handed over")

    async def change_membership(self, change: Change, *, timeout_s: float) -> None:
        """Returns once the change is committed; it waits for one that is in flight.

        Raises NotLeaderError, MembershipRefusedError, ProposalRefusedError (nothing has changed), ProposalDroppedError
        (nor will it), OutcomeUnknownError (also after `timeout_s`).
        """
        if not self._owner.leads:
            raise self._owner.not_leader()
        future = self._owner.callers.membership.add(change).future
        self._owner.wake()
        await within(timeout_s, future, "the change of membership was not committed")

    async def take_snapshot(self, *, timeout_s: float) -> int:
        """The last included index of a durable snapshot of the state as it is, or newer.

        Raises ProposalRefusedError if there is no space; OutcomeUnknownError after `timeout_s`.
        """
        saving = asyncio.ensure_future(self._owner.applier.save_snapshot())
        return await within(timeout_s, saving, "the snapshot was not written")

    @property
    def cluster_id(self) -> str:
        return self._config.cluster_id

    @property
    def members(self) -> tuple[MemberStatus, ...]:
        """Of the newest configuration that this node has; empty before it has started."""
        core = self._owner.core
        return members_of(core) if core is not None else ()

    @property
    def snapshot_index(self) -> int:
        return self._owner.snapshots.index

    @property
    def status(self) -> RaftStatus:
        """This node now. One that does not run, or whose disk is full, neither leads nor knows a leader."""
        return self._owner.status

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until role, term, leader, readiness or configuration is another than when it was called.

        The call counts, not the first step of waiting: no change is missed when a task is made of it.
        """
        return self._owner.changed()

    def receive(self, messages: list[Message], address: str = "") -> None:
        """Messages of a peer, which says that it is reached at `address`; never blocks.

        Before this node has read its log, and while it joins, it hears nothing.
        """
        is_joining = self._joining is not None and not self._joining.done()
        if self._owner.core is None or is_joining:
            return
        for message in messages:
            self._transport.heard(message.sender)
            if address:
                self._addresses.heard(message.sender, address)
        self._owner.receive(messages)

    def is_stranger(self, sender: str) -> bool:
        """`sender` is no member, as a leader who is heard would know."""
        core = self._owner.core
        return core is not None and core.is_stranger(sender)

    def stream_ended(self, peer: str) -> None:
        """A stream of `peer` to this node has ended, for whatever reason."""
        address = self._addresses.of(peer)
        if peer == self.status.leader_id and address is not None:
            self._suspicion.stream_ended(peer, address)

    async def _hand_over(self) -> None:
        """So that the others need not find out that it is gone; but who stops does not wait for them for long."""
        if not self._owner.leads or sum(member.is_voter for member in self.members) == 1:
            return
        try:
            await self.transfer_leadership(timeout_s=2 * self._config.election_timeout_ms / 1_000)
        except RaftError as error:
            log.info("leadership was not handed over", why=str(error))

    async def _join(self) -> None:
        config = self._config
        request = raft_pb2.JoinRequest(
            cluster_id=config.cluster_id, node_id=config.node_id, address=self._addresses.own
        )
        try:
            await join_cluster(request, config.join, self._credentials)
        except Exception as error:  # noqa: BLE001 no failure of a call: those are tried again
            end_process(INVARIANT_BROKEN, "a Raft node cannot join", error)
