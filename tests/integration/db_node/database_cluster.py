"""Three database nodes: in one event loop, with partitions; or as processes that can be killed."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from db_node.database_machine import DatabaseMachine
from db_node.freshness import Freshness
from db_node.replicated_participant import ReplicatedParticipant
from db_node.servicer import DatabaseServicer
from tests.support.etcd_cluster import cluster
from tests.support.raft_cluster import Member, RaftCluster, free_ports
from utils.pb import database_pb2, database_pb2_grpc, two_phase_commit_pb2 as pb, two_phase_commit_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import ServiceError
from utils.two_phase_commit import convert
from utils.two_phase_commit.io.participant_servicer import ParticipantServicer
from utils.two_phase_commit.messages import Acknowledgement, Decision, Transaction, Vote

NODE_IDS = ("db-node1", "db-node2", "db-node3")
TIMEOUT_S = 15.0

DatabaseMember = Member[DatabaseMachine]
DatabaseCluster = RaftCluster[DatabaseMachine]


@contextlib.asynccontextmanager
async def database_cluster(directory: Path, engine: str = "raft") -> AsyncIterator[DatabaseCluster]:
    """The services of a node, over the real engine, without what `DatabaseNode` does by itself."""

    def add_services(member: DatabaseMember) -> None:
        servicer = DatabaseServicer(member.node, member.machine, Freshness(member.node))
        database_pb2_grpc.add_DatabaseServiceServicer_to_server(servicer, member.server)  # type: ignore[arg-type]
        participant = ParticipantServicer(ReplicatedParticipant(member.node))
        two_phase_commit_pb2_grpc.add_ParticipantServiceServicer_to_server(participant, member.server)  # type: ignore[arg-type]

    async with cluster(engine, directory, DatabaseMachine, node_ids=NODE_IDS, add_services=add_services) as running:
        yield running


class Coordinator:
    """Asks and tells as the executors do, through one channel."""

    def __init__(self, channel: Channel | ClusterChannel) -> None:
        self._channel = channel
        self._stub = two_phase_commit_pb2_grpc.ParticipantServiceStub(channel)  # type: ignore[arg-type]

    async def prepare(self, *transactions: Transaction, timeout_s: float = TIMEOUT_S) -> list[Vote]:
        request = pb.PrepareRequest(transactions=[convert.transaction_to_proto(item) for item in transactions])
        response = await self._stub.Prepare(request, timeout=timeout_s)
        return [convert.vote_from_proto(message) for message in response.votes]

    async def decide(self, *decisions: Decision, timeout_s: float = TIMEOUT_S) -> list[Acknowledgement]:
        request = pb.DecideRequest(decisions=[convert.decision_to_proto(item) for item in decisions])
        response = await self._stub.Decide(request, timeout=timeout_s)
        return [convert.acknowledgement_from_proto(message) for message in response.acknowledgements]

    async def close(self) -> None:
        await self._channel.close()


@contextlib.asynccontextmanager
async def coordinator(*addresses: str) -> AsyncIterator[Coordinator]:
    """Of a cluster; with one address, of that node and no other."""
    speaker = Coordinator(ClusterChannel(addresses) if len(addresses) > 1 else Channel(addresses[0]))
    try:
        yield speaker
    finally:
        await speaker.close()


class DatabaseProcesses:
    """`python -m db_node`, three times."""

    def __init__(self, directory: Path, executors: str, in_doubt_s: float, settings: Mapping[str, str]) -> None:
        ports = free_ports(len(NODE_IDS))
        self._directory = directory
        self._ports = dict(zip(NODE_IDS, ports, strict=True))
        self.peers = {node_id: f"127.0.0.1:{port}" for node_id, port in self._ports.items()}
        self._settings = {
            "BIND_HOST": "127.0.0.1",
            "DB_PEERS": ",".join(f"{node_id}={address}" for node_id, address in self.peers.items()),
            "DB_NODE_COUNT": "3",
            "ORDER_EXECUTOR": executors,
            "IN_DOUBT_S": str(in_doubt_s),
            **settings,
        }
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    @property
    def addresses(self) -> Sequence[str]:
        return tuple(self.peers.values())

    async def start(self, node_id: str) -> None:
        settings = self._settings | {
            "DB_NODE_ID": node_id,
            "DB_PORT": str(self._ports[node_id]),
            "DB_ROLE": "primary" if node_id == NODE_IDS[0] else "replica",
            "DATA_DIR": str(self._directory / node_id),
        }
        with (self._directory / f"{node_id}.log").open("ab") as log:
            self._processes[node_id] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "db_node", env={**os.environ, **settings}, stderr=log
            )

    def send_signal(self, node_id: str, number: signal.Signals) -> None:
        self._processes[node_id].send_signal(number)

    async def kill(self, node_id: str) -> None:
        """As kill -9 does."""
        process = self._processes.pop(node_id)
        process.kill()
        await process.wait()

    async def close(self) -> None:
        for node_id in list(self._processes):
            await self.kill(node_id)

    async def status(self, node_id: str) -> database_pb2.GetDatabaseStatusResponse | None:
        """None if the node does not answer."""
        channel = Channel(self.peers[node_id])
        stub = database_pb2_grpc.DatabaseServiceStub(channel)  # type: ignore[arg-type]
        try:
            return await stub.GetDatabaseStatus(database_pb2.GetDatabaseStatusRequest(), timeout=2)
        except ServiceError:
            return None
        finally:
            await channel.close()

    async def until(self, condition: Any) -> database_pb2.GetDatabaseStatusResponse:
        """The status of the first node of which `condition(status)` is true."""
        async with asyncio.timeout(TIMEOUT_S * 2):
            while True:
                for node_id in list(self._processes):
                    status = await self.status(node_id)
                    if status is not None and condition(status):
                        return status
                await asyncio.sleep(0.1)

    async def primary(self) -> str:
        return (await self.until(lambda status: status.is_primary)).node_id


@contextlib.asynccontextmanager
async def database_processes(
    directory: Path,
    *,
    executors: str = "127.0.0.1:1",
    in_doubt_s: float = 60,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[DatabaseProcesses]:
    processes = DatabaseProcesses(directory, executors, in_doubt_s, settings)
    try:
        for node_id in NODE_IDS:
            await processes.start(node_id)
        yield processes
    finally:
        await processes.close()
