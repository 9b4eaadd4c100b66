"""Elections of every kind between nodes in one process, over real sockets, and what a test may do to them."""

import asyncio
import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from order_executor.bully.core import Message
from order_executor.bully.election import BullyElection
from order_executor.config import ExecutorConfig
from order_executor.consensus_election import ConsensusElection
from order_executor.ports import Election
from tests.support.etcd import EtcdMembers, Links, etcd_members
from tests.support.raft_cluster import PartitionedTransport, free_ports
from tests.unit.order_executor.world import eventually
from utils.etcd.node import EtcdNode
from utils.raft.io.node import RaftNode
from utils.rpc.errors import FailedPrecondition, Unavailable
from utils.rpc.server import RpcServer
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog
from utils.two_phase_commit.fenced_log import Epoch, FencedLog


class Keeper:
    """The fenced log of all nodes, as one of them reaches it. Its answers, and what it is sent, may be lost or late."""

    def __init__(self, log: FencedLog) -> None:
        self.log = log
        self.is_away = False
        self.answers_lost = 0
        # While it is clear, what is to be recorded is on its way.
        self.way = asyncio.Event()
        self.way.set()
        self.raises = 0

    async def epoch(self) -> Epoch:
        await self._reach()
        return self.log.epoch

    async def raise_epoch(self, expected_number: int, node_id: str, incarnation: str) -> Epoch:
        await self._reach()
        self.raises += 1
        epoch = self.log.raise_epoch(expected_number, node_id, incarnation, above=0)
        if self.answers_lost:
            self.answers_lost -= 1
            raise Unavailable("the answer was lost")
        return epoch

    async def record(self, epoch: Epoch, commands: Sequence[Command]) -> Sequence[OrderDecision | None]:
        await self._reach()
        await self.way.wait()
        recorded = self.log.record(epoch, commands)
        if isinstance(recorded, Epoch):
            raise FailedPrecondition("the epoch is over")
        if self.answers_lost:
            self.answers_lost -= 1
            raise Unavailable("the answer was lost")
        return recorded

    async def read_into(self, log: DecisionLog) -> None:
        await self._reach()
        log.restore(self.log.decisions.snapshot())

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("away")


class Member(ABC):
    """One node; after a restart it is another Member."""

    election: Election

    def __init__(self, config: ExecutorConfig) -> None:
        self.node_id = config.node_id
        self.server = RpcServer(f"127.0.0.1:{config.port}", node_id=config.node_id)

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def crash(self) -> None:
        """Without a word to the others."""

    @abstractmethod
    def hear_only(self, node_ids: Iterable[str]) -> None: ...


class RaftMember(Member):
    def __init__(self, config: ExecutorConfig) -> None:
        super().__init__(config)
        self._transport = PartitionedTransport(config)
        self._peers = config.peers
        decisions = DecisionLog()
        self.node = RaftNode(config, decisions, transport=self._transport)
        self.election = ConsensusElection(self.node, decisions)
        self.node.add_to(self.server)

    async def start(self) -> None:
        await self.server.start()
        await self.node.start()

    async def crash(self) -> None:
        await self.node.stop()
        await self.server.stop(grace_s=0)

    def hear_only(self, node_ids: Iterable[str]) -> None:
        self._transport.cut_off = set(self._peers) - set(node_ids)


class BullyMember(Member):
    def __init__(self, config: ExecutorConfig, log: FencedLog) -> None:
        super().__init__(config)
        self.keeper = Keeper(log)
        self.election: BullyElection = BullyElection(config, self.keeper)
        self.election.add_to(self.server)
        self._heard = frozenset(config.peers)
        self._send = self.election._messenger.send
        self.election._messenger.send = self._deliver  # type: ignore[method-assign]

    async def start(self) -> None:
        await self.server.start()
        await self.election.start()

    async def crash(self) -> None:
        self._heard = frozenset()
        await self.election.stop()
        await self.server.stop(grace_s=0)

    def hear_only(self, node_ids: Iterable[str]) -> None:
        self._heard = frozenset(node_ids)

    def _deliver(self, message: Message, epoch: int) -> None:
        if message.recipient in self._heard:
            self._send(message, epoch)


class EtcdElectionMember(Member):
    def __init__(self, config: ExecutorConfig, links: Links) -> None:
        super().__init__(config)
        self._links = links
        self._majority = len(config.peers) // 2 + 1
        decisions = DecisionLog()
        self.node = EtcdNode(dataclasses.replace(config, etcd_endpoints=links.endpoints), decisions)
        self.election = ConsensusElection(self.node, decisions)
        self.node.add_to(self.server)

    async def start(self) -> None:
        await self.server.start()
        await self.node.start()

    async def crash(self) -> None:
        self._links.cut()
        await self.node.stop()
        await self.server.stop(grace_s=0)
        await self._links.close()

    def hear_only(self, node_ids: Iterable[str]) -> None:
        """etcd is on the side of the majority."""
        if len(set(node_ids)) < self._majority:
            self._links.cut()
        else:
            self._links.heal()


class ElectionCluster:
    def __init__(self, kind: str, directory: Path, count: int, etcd: EtcdMembers | None) -> None:
        self._etcd = etcd
        self.log = FencedLog()
        node_ids = [f"order_executor_{number}" for number in range(1, count + 1)]
        ports = free_ports(count)
        peers = {node_id: f"127.0.0.1:{port}" for node_id, port in zip(node_ids, ports, strict=True)}
        self._configs = {
            node_id: ExecutorConfig(
                node_id=node_id,
                port=port,
                peers=peers,
                data_dir=str(directory / node_id),
                election_timeout_ms=300,
                heartbeat_interval_ms=50,
                election=kind,
                etcd_endpoints=("-",),
                order_queue=("-",),
                db_nodes=("-",),
                payment_service="-",
            )
            for node_id, port in zip(node_ids, ports, strict=True)
        }
        self.members: dict[str, Member] = {}

    async def start(self, node_id: str) -> Member:
        member = await self._member(self._configs[node_id])
        await member.start()
        self.members[node_id] = member
        return member

    async def _member(self, config: ExecutorConfig) -> Member:
        if config.election == "raft":
            return RaftMember(config)
        if self._etcd is None:
            return BullyMember(config, self.log)
        links = Links(self._etcd.endpoints)
        await links.start()
        return EtcdElectionMember(config, links)

    async def start_all(self) -> None:
        for node_id in self._configs:
            await self.start(node_id)

    async def crash(self, member: Member) -> None:
        del self.members[member.node_id]
        await member.crash()

    async def ready(self, among: Iterable[str] | None = None) -> Member:
        """The one that leads, and is known to lead by all of `among` (default: all that run)."""
        chosen: list[Member] = []

        def known() -> bool:
            members = [self.members[node_id] for node_id in among or self.members]
            chosen[:] = [member for member in members if member.election.status.ready]
            leaders = {member.election.status.leader_id for member in members}
            epochs = {member.election.status.epoch for member in members}
            return len(chosen) == 1 and leaders == {chosen[0].node_id} and len(epochs) == 1

        await eventually(known, "one node leads, and all know it")
        return chosen[0]

    def split(self, *groups: Iterable[str]) -> None:
        for group in groups:
            for node_id in group:
                self.members[node_id].hear_only(group)

    def heal(self) -> None:
        self.split(self._configs)

    @property
    def node_ids(self) -> list[str]:
        return list(self._configs)


@contextlib.asynccontextmanager
async def elections(kind: str, directory: Path, count: int = 3) -> AsyncIterator[ElectionCluster]:
    async with contextlib.AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(etcd_members(directory)) if kind == "etcd" else None
        cluster = ElectionCluster(kind, directory, count, etcd)
        await cluster.start_all()
        try:
            yield cluster
        finally:
            for member in list(cluster.members.values()):
                await cluster.crash(member)


def bully_member(member: Member) -> BullyMember:
    assert isinstance(member, BullyMember)
    return member
