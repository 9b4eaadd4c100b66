"""A node of a replicated state machine whose log is in etcd: what utils.raft.io.node.RaftNode is, on another engine.

Every node follows the log. Whoever finds that nobody leads tries to make the leader's key, under a lease of its own;
the key's create revision is the term. A new leader reads the log to its end first: of earlier terms nothing is added
any more. Nothing is kept on this node's disk.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from utils.etcd.client import EtcdClient
from utils.etcd.config import EtcdConfig
from utils.etcd.errors import EtcdError
from utils.etcd.layout import Layout, Leader, View
from utils.etcd.leadership import Leadership
from utils.etcd.lease import Lease
from utils.etcd.replica import CALL_TIMEOUT_S, Replica
from utils.etcd.status_servicer import StatusServicer
from utils.formats import FormatTooNewError
from utils.observe.logging import get_logger
from utils.pb import raft_pb2_grpc
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError, TransferFailedError
from utils.raft.io.callers import within
from utils.raft.io.failure import FORMAT_TOO_NEW, INVARIANT_BROKEN, end_process
from utils.raft.io.status import RaftStatus
from utils.raft.state_machine import StateMachine
from utils.rpc.server import RpcServer
from utils.rpc.transport import backoff_s

log = get_logger()

# A follower looks so often in a lease, also if no watch tells it to: a watch at a member that is cut off tells nothing.
_LOOKS_PER_LEASE = 3


class EtcdNode:
    """Lives in one event loop. Stop it before the server it was added to."""

    def __init__(self, config: EtcdConfig, machine: StateMachine) -> None:
        self._config = config
        self._client = EtcdClient(config.etcd_endpoints, config.etcd_credentials)
        self._layout = Layout(config.cluster_id)
        self._replica = Replica(self._client, self._layout, machine)
        self._servicer = StatusServicer(self, config.cluster_id)
        self._self = Leader(config.node_id, config.peers[config.node_id])
        self._leadership: Leadership | None = None
        # The highest term that this node has heard of, who leads in it, and when that was known.
        self._term = 0
        self._leader: Leader | None = None
        self._heard_at = float("-inf")
        # It takes no part in elections while it waits for another node to take over.
        self._abstains = False
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._leading: asyncio.Task[None] | None = None
        self._published: tuple[object, ...] = ()
        self._change = asyncio.Event()

    def add_to(self, server: RpcServer) -> None:
        """Serves the part of RaftService that says who leads."""
        raft_pb2_grpc.add_RaftServiceServicer_to_server(self._servicer, server)  # type: ignore[arg-type]

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(part) for part in (self._own(), self._listen())]
        self._publish()

    async def stop(self) -> None:
        """Gives leadership up, and takes no further part. Proposals in flight end with OutcomeUnknownError."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._leader, self._heard_at = None, float("-inf")
        self._publish()
        await self._client.close()

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any:
        """What the state machine's `apply` returned for the command on this node, once it is committed.

        With `term`, it is proposed in that term or not at all. Raises NotLeaderError, ProposalRefusedError (nothing was
        proposed), ProposalDroppedError (it never will be applied), OutcomeUnknownError (also after `timeout_s`).
        """
        leadership = self._active()
        if term is not None and term != leadership.term:
            raise self._not_leader()
        return await within(timeout_s, leadership.propose(command), "the command was not committed")

    async def read_barrier(self, *, timeout_s: float) -> None:
        """When it returns, the state machine here has all that was committed anywhere before the call.

        Raises NotLeaderError; OutcomeUnknownError after `timeout_s`.
        """
        await within(timeout_s, self._active().confirm(), "leadership was not confirmed")

    async def transfer_leadership(self, *, timeout_s: float) -> None:
        """Lets another node lead: this one gives leadership up, once what is proposed has its outcome.

        Raises NotLeaderError; TransferFailedError if nobody takes over within a lease: then this node may lead again,
        in a later term.
        """
        leadership = self._active()
        leadership.is_resigning = True
        self._abstains = True
        self._publish()
        try:
            async with asyncio.timeout(min(timeout_s, self._config.etcd_lease_s)):
                await leadership.drained()
                if self._leading is not None and self._leadership is leadership:
                    self._leading.cancel()
                while self._term == leadership.term or self._leader is None:
                    await self.changed()
        except TimeoutError:
            raise TransferFailedError("nobody has taken over in time") from None
        finally:
            if self._leading is not None and self._leadership is leadership:
                self._leading.cancel()
            self._abstains = False
            self._news.set()

    @property
    def status(self) -> RaftStatus:
        """This node now. One that has not heard from etcd for a lease knows no leader."""
        leads, is_ready = False, False
        leader, term = self._leader, self._term
        if (leadership := self._leadership) is not None:
            leads = leadership.lease.is_held
            is_ready = leads and not leadership.is_resigning
            leader, term = (self._self if leads else None), leadership.term
        elif asyncio.get_running_loop().time() - self._heard_at > self._config.etcd_lease_s:
            leader = None
        return RaftStatus(
            node_id=self._config.node_id,
            role=Role.LEADER if leads else Role.FOLLOWER,
            term=term,
            leader_id=leader.node_id if leader is not None else None,
            leader_address=leader.address if leader is not None else None,
            commit_index=self._replica.last_applied,
            last_applied=self._replica.last_applied,
            last_log_index=self._replica.last_applied,
            ready=is_ready,
        )

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until role, term, leader or readiness is another than when it was called."""
        return _wait(self._change)

    # The owner

    async def _own(self) -> None:
        failures = 0
        while True:
            try:
                await self._follow()
                failures = 0
                await self._campaign()
            except EtcdError as error:
                failures += 1
                self._publish()
                if failures.bit_count() == 1:
                    log.warning("etcd does not answer", error=str(error), tries=failures)
                await asyncio.sleep(backoff_s(failures))
            except FormatTooNewError as error:
                where = f"entry {self._replica.last_applied + 1} or the snapshot of {self._config.cluster_id} in etcd"
                end_process(FORMAT_TOO_NEW, "a node on etcd cannot go on", error.at(where))
            except Exception as error:  # noqa: BLE001 a lost log, a broken invariant, or a state machine that raised
                end_process(INVARIANT_BROKEN, "a node on etcd cannot go on", error)

    async def _follow(self) -> None:
        """Until everything is applied, nobody leads, and this node takes part. Raises EtcdError, LogLostError."""
        while True:
            self._news.clear()
            view = await self._look()
            if view.head > self._replica.last_applied:
                continue
            if view.leader == self._self:
                # The process that led under this name is gone, or could not tell etcd that it leads no more.
                await self._client.txn(self._layout.depose(view.term), timeout_s=CALL_TIMEOUT_S)
                continue
            if view.leader is None and not self._abstains:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.etcd_lease_s / _LOOKS_PER_LEASE):
                    await self._news.wait()

    async def _look(self) -> View:
        asked_at = asyncio.get_running_loop().time()
        view = await self._replica.look()
        self._heard_at = asked_at
        self._term, self._leader = max(self._term, view.term), view.leader
        self._publish()
        return view

    async def _campaign(self) -> None:
        """Tries to lead, and leads. Raises EtcdError, LogLostError."""
        lease = await Lease.grant(self._client, self._config.etcd_lease_s)
        try:
            request = self._layout.campaign(self._self, lease.id)
            response = await self._client.txn(request, timeout_s=CALL_TIMEOUT_S)
            term = self._layout.term_won(response, lease.id)
            if term is None or not lease.is_held:
                return
            await self._catch_up(lease)
            if lease.is_held:
                self._leading = asyncio.create_task(self._lead(lease, term))
                try:
                    await asyncio.wait((self._leading,))
                finally:
                    self._leading.cancel()
                    await asyncio.wait((self._leading,))
                if not self._leading.cancelled():
                    self._leading.result()
        finally:
            await lease.revoke()

    async def _catch_up(self, lease: Lease) -> None:
        """Of the terms before nothing is added any more: the end of the log is the end."""
        keeping = asyncio.create_task(lease.keep_alive())
        try:
            while lease.is_held and (await self._look()).head > self._replica.last_applied:
                pass
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _lead(self, lease: Lease, term: int) -> None:
        leadership = Leadership(
            self._client,
            self._layout,
            self._replica,
            lease,
            term,
            snapshot_entries=self._config.snapshot_entries,
            snapshot_log_bytes=self._config.snapshot_log_bytes,
        )
        self._term, self._leadership = term, leadership
        self._publish()
        try:
            await leadership.run()
        finally:
            self._leadership, self._leader = None, None
            leadership.close(self._not_leader())
            self._publish()
            log.info("this node leads no more", term=term)

    async def _listen(self) -> None:
        """Tells the owner that there may be something to look at."""
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self._client.watch(self._layout.news, self._layout.news_end)) as changes:
                    async for _ in changes:
                        failures = 0
                        self._news.set()
            except EtcdError:
                failures += 1
                await asyncio.sleep(backoff_s(failures))

    def _active(self) -> Leadership:
        """Raises NotLeaderError."""
        leadership = self._leadership
        if leadership is None or leadership.is_resigning or not leadership.lease.is_held:
            raise self._not_leader()
        return leadership

    def _not_leader(self) -> NotLeaderError:
        status = self.status
        if status.leader_id == status.node_id:
            # It hands over, and sends nobody to itself.
            return NotLeaderError(None, None)
        return NotLeaderError(status.leader_id, status.leader_address)

    def _publish(self) -> None:
        status = self.status
        now = (status.role, status.term, status.leader_id, status.ready)
        if now == self._published:
            return
        self._published = now
        if status.ready:
            log.info("this node leads and is ready", term=status.term, last_applied=status.last_applied)
        change, self._change = self._change, asyncio.Event()
        change.set()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
