"""A cluster of RaftNodes on loopback ports, in one event loop, with a state machine of the test's choice.

async with raft_cluster(tmp_path, OrderQueueMachine) as cluster:
    leader = await cluster.leader()
    await leader.node.propose(command, timeout_s=5)
    await cluster.stop(leader)
    await cluster.leader()
"""

import asyncio
import contextlib
import dataclasses
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from utils.raft.config import RaftConfig
from utils.raft.core.messages import Message
from utils.raft.io.node import RaftNode
from utils.raft.io.transport import GrpcTransport
from utils.raft.state_machine import StateMachine
from utils.rpc.server import RpcServer

# Generous: reached only when something is broken.
WAIT_S_MAX = 20.0

_M = TypeVar("_M", bound=StateMachine)


class PartitionedTransport(GrpcTransport):
    """Real streams, from which the messages to some peers are taken out."""

    def __init__(self, config: RaftConfig) -> None:
        super().__init__(cluster_id=config.cluster_id, node_id=config.node_id)
        self.cut_off: set[str] = set()

    def send(self, messages: Sequence[Message]) -> None:
        super().send([message for message in messages if message.recipient not in self.cut_off])


class _Watched:
    """A machine that tells when it has applied or restored something."""

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self.snapshot = machine.snapshot
        self.progress = asyncio.Event()

    def apply(self, index: int, command: bytes) -> Any:
        result = self._machine.apply(index, command)
        self._tell()
        return result

    def restore(self, snapshot: bytes) -> None:
        self._machine.restore(snapshot)
        self._tell()

    def _tell(self) -> None:
        self.progress.set()
        self.progress = asyncio.Event()


class Member(Generic[_M]):
    """One node: its machine and server. After a restart it is another Member."""

    def __init__(self, config: RaftConfig, machine: _M, add_services: Callable[["Member[_M]"], None]) -> None:
        self.config = config
        self.machine = machine
        self.transport = PartitionedTransport(config)
        self._watched = _Watched(machine)
        self.node = self._make_node(config, self._watched)
        self.server = RpcServer(f"127.0.0.1:{config.port}", node_id=config.node_id)
        self.node.add_to(self.server)
        add_services(self)

    def _make_node(self, config: RaftConfig, machine: StateMachine) -> RaftNode:
        return RaftNode(config, machine, transport=self.transport)

    @property
    def address(self) -> str:
        return self.config.peers[self.config.node_id]

    async def applied(self, index: int) -> None:
        """Waits until the machine has applied the command at `index`, or a later one."""
        async with asyncio.timeout(WAIT_S_MAX):
            while self.node.status.last_applied < index:
                await self._watched.progress.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until it holds; it is looked at whenever this node's role, term, leader or configuration changes."""
        async with asyncio.timeout(WAIT_S_MAX):
            while not condition():
                await self.node.changed()


class RaftCluster(Generic[_M]):
    """Use `raft_cluster`."""

    def __init__(
        self,
        directory: Path,
        machine_factory: Callable[[], _M],
        node_ids: Sequence[str],
        add_services: Callable[[Member[_M]], None],
    ) -> None:
        self._machine_factory = machine_factory
        self._add_services = add_services
        ports = free_ports(len(node_ids))
        peers = {node_id: f"127.0.0.1:{port}" for node_id, port in zip(node_ids, ports, strict=True)}
        self.configs = {
            node_id: RaftConfig(node_id=node_id, port=port, peers=peers, data_dir=str(directory / node_id))
            for node_id, port in zip(node_ids, ports, strict=True)
        }
        self.members: dict[str, Member[_M]] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(next(iter(self.configs.values())).peers.values())

    def add_config(self, node_id: str, directory: Path, *, join: str) -> None:
        """Of a node that knows one address of a member, and nothing else."""
        [port] = free_ports(1)
        self.configs[node_id] = dataclasses.replace(
            next(iter(self.configs.values())),
            node_id=node_id,
            port=port,
            peers={node_id: f"127.0.0.1:{port}"},
            join=(join,),
            data_dir=str(directory / node_id),
        )

    async def start(self, node_id: str) -> Member[_M]:
        """Starts a node, also one that was stopped, on its old port and directory."""
        member = Member(self.configs[node_id], self._machine_factory(), self._add_services)
        await member.node.start()
        await member.server.start()
        self.members[node_id] = member
        return member

    async def stop(self, member: Member[_M]) -> None:
        del self.members[member.config.node_id]
        await member.node.stop()
        await member.server.stop(grace_s=0)

    async def leader(self) -> Member[_M]:
        """The one that leads, is ready, and is followed by a majority of the voters."""
        async with asyncio.timeout(WAIT_S_MAX):
            while (leader := self._followed_leader()) is None:
                changes = [asyncio.create_task(member.node.changed()) for member in self.members.values()]
                await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
                for change in changes:
                    change.cancel()
        return leader

    def partition(self, *groups: Sequence[Member[_M]]) -> None:
        """Nodes of different groups do not hear each other until `heal`."""
        for group in groups:
            inside = {member.config.node_id for member in group}
            for member in group:
                member.transport.cut_off = set(self.configs) - inside

    def heal(self) -> None:
        for member in self.members.values():
            member.transport.cut_off = set()

    async def applied(self, index: int) -> None:
        """Waits until every running node has applied the command at `index`."""
        for member in list(self.members.values()):
            await member.applied(index)

    def _followed_leader(self) -> Member[_M] | None:
        for member in self.members.values():
            status = member.node.status
            voters = {voter.node_id for voter in member.node.members if voter.is_voter}
            followers = sum(
                (other.node.status.term, other.node.status.leader_id) == (status.term, status.node_id)
                for other in self.members.values()
                if other.config.node_id in voters
            )
            if status.ready and followers > len(voters) // 2:
                return member
        return None


_C = TypeVar("_C", bound=RaftCluster[Any])


@contextlib.asynccontextmanager
async def raft_cluster(
    directory: Path,
    machine_factory: Callable[[], _M],
    *,
    node_ids: Sequence[str] = ("node_1", "node_2", "node_3"),
    add_services: Callable[[Member[_M]], None] = lambda _: None,
    **settings: int,
) -> AsyncIterator[RaftCluster[_M]]:
    """Starts every node; `add_services(member)` may add more servicers to `member.server`.

    `settings` replace fields of RaftConfig, such as election_timeout_ms.
    """
    async with running(RaftCluster(directory, machine_factory, node_ids, add_services), settings) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def running(cluster: _C, settings: Mapping[str, int]) -> AsyncIterator[_C]:
    """From the start of every node to the stop of the last."""
    for node_id, config in cluster.configs.items():
        cluster.configs[node_id] = dataclasses.replace(config, **settings)  # type: ignore[arg-type]
    try:
        for node_id in list(cluster.configs):
            await cluster.start(node_id)
        yield cluster
    finally:
        cluster.heal()
        for member in list(cluster.members.values()):
            await cluster.stop(member)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below the range from which the system takes ports for connections."""
    ports: list[int] = []
    for port in _candidates():
        with socket.socket() as probe:
            # Without SO_REUSEADDR a port of a connection that just ended is not free; gRPC sets it, too.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free port")


def _candidates() -> Sequence[int]:
    return random.sample(range(20_000, 32_000), 2_000)
