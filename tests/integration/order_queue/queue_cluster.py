"""A queue of three nodes on loopback: in this event loop, or as the processes that the system really runs."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from order_queue.config import QueueConfig
from order_queue.node import QueueNode
from tests.support.etcd import endpoints_for
from tests.support.raft_cluster import free_ports
from tests.unit.order_queue.harness import enqueue_request
from tests.unit.order_queue.words import number_of, order_id
from utils.pb import order_queue_pb2 as pb
from utils.pb.order_queue_pb2_grpc import OrderQueueServiceStub
from utils.pb.raft_pb2 import GetRaftStatusRequest
from utils.pb.raft_pb2_grpc import RaftServiceStub
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import ServiceError

NODE_IDS = ("order_queue_1", "order_queue_2", "order_queue_3")
# Reached only when something is broken.
TIMEOUT_S = 30.0
WAIT_MS = 20_000


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Looks until it holds: for what another process does, which wakes nobody here."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)


class QueueClient:
    """What an orchestrator and an executor do, with numbers for orders."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._channel = ClusterChannel(addresses)
        self.stub = OrderQueueServiceStub(self._channel)  # type: ignore[arg-type]

    async def enqueue(self, number: int, quantity: int = 1) -> pb.OrderRecord:
        return (await self.stub.Enqueue(enqueue_request(number, quantity), timeout=TIMEOUT_S)).record

    async def get(self, number: int, wait_ms: int = 0) -> pb.OrderRecord:
        request = pb.GetOrderRequest(order_id=order_id(number), wait_ms=wait_ms)
        return (await self.stub.GetOrder(request, timeout=TIMEOUT_S)).record

    async def poll(self, *held: int, epoch: int = 1, max_orders: int = 100, wait_ms: int = 0) -> list[int]:
        response = await self.stub.Dequeue(
            poll_request(*held, epoch=epoch, max_orders=max_orders, wait_ms=wait_ms), timeout=TIMEOUT_S
        )
        return [number_of(claimed.order.order_id) for claimed in response.orders]

    async def complete(self, *results: pb.OrderResult) -> None:
        await self.stub.Complete(pb.CompleteRequest(results=results), timeout=TIMEOUT_S)

    async def stats(self) -> pb.GetQueueStatsResponse:
        return await self.stub.GetQueueStats(pb.GetQueueStatsRequest(), timeout=TIMEOUT_S)

    async def all_recorded(self) -> None:
        """Waits until PostgreSQL has every order that ended."""

        async def is_so() -> bool:
            return (await self.stats()).unrecorded == 0

        await eventually(is_so)

    async def close(self) -> None:
        await self._channel.close()


def poll_request(*held: int, epoch: int = 1, max_orders: int = 100, wait_ms: int = 0) -> pb.DequeueRequest:
    return pb.DequeueRequest(
        executor_id=f"order_executor_{epoch}",
        epoch=epoch,
        held_order_ids=[order_id(number) for number in held],
        max_orders=max_orders,
        wait_ms=wait_ms,
    )


class LocalQueue:
    """Three nodes in this event loop."""

    def __init__(
        self, directory: Path, database_url: str, keys_remembered_s: float, etcd_endpoints: tuple[str, ...]
    ) -> None:
        """Its log is in etcd if that is somewhere, and else the nodes' own."""
        ports = free_ports(len(NODE_IDS))
        peers = {node_id: f"127.0.0.1:{port}" for node_id, port in zip(NODE_IDS, ports, strict=True)}
        self.addresses = tuple(peers.values())
        self._configs = {
            node_id: QueueConfig(
                node_id=node_id,
                bind_host="127.0.0.1",
                port=port,
                peers=peers,
                data_dir=str(directory / node_id),
                database_url=database_url,
                record_interval_ms=20,
                record_backoff_ms_max=100,
                keys_remembered_s=keys_remembered_s,
                engine="etcd" if etcd_endpoints else "raft",
                etcd_endpoints=etcd_endpoints,
            )
            for node_id, port in zip(NODE_IDS, ports, strict=True)
        }
        self.nodes: dict[str, QueueNode] = {}
        self.client = QueueClient(self.addresses)

    async def start(self, node_id: str) -> None:
        self.nodes[node_id] = QueueNode(self._configs[node_id])
        await self.nodes[node_id].start()

    async def leader(self) -> str:
        """The id of the node that leads and is ready."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for node_id, node in self.nodes.items():
                    if node.consensus.status.ready:
                        return node_id
                changes = [asyncio.create_task(node.consensus.changed()) for node in self.nodes.values()]
                await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
                for change in changes:
                    change.cancel()

    async def stop(self, node_id: str) -> None:
        await self.nodes.pop(node_id).stop()


@contextlib.asynccontextmanager
async def local_queue(
    directory: Path, database_url: str = "", *, keys_remembered_s: float = 86_400, engine: str = "raft"
) -> AsyncIterator[LocalQueue]:
    async with endpoints_for(engine, directory) as etcd_endpoints:
        queue = LocalQueue(directory, database_url, keys_remembered_s, etcd_endpoints)
        try:
            for node_id in NODE_IDS:
                await queue.start(node_id)
            yield queue
        finally:
            await queue.client.close()
            for node_id in list(queue.nodes):
                await queue.stop(node_id)


class QueueProcesses:
    """Three processes, each `python -m order_queue`."""

    def __init__(self, directory: Path, database_url: str) -> None:
        ports = free_ports(len(NODE_IDS))
        self._directory = directory
        self._database_url = database_url
        self.addresses = dict(zip(NODE_IDS, (f"127.0.0.1:{port}" for port in ports), strict=True))
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.client = QueueClient(tuple(self.addresses.values()))

    async def start(self, node_id: str) -> None:
        with (self._directory / f"{node_id}.log").open("ab") as output:
            self._processes[node_id] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "order_queue", env=self._environment(node_id), stderr=output
            )

    async def kill(self, node_id: str) -> None:
        """As a power cut does."""
        process = self._processes.pop(node_id)
        process.kill()
        await process.wait()

    def pause(self, node_id: str) -> None:
        self._processes[node_id].send_signal(signal.SIGSTOP)

    def resume(self, node_id: str) -> None:
        self._processes[node_id].send_signal(signal.SIGCONT)

    async def stop(self, node_id: str) -> int:
        """As a supervisor does; the exit status."""
        process = self._processes.pop(node_id)
        process.terminate()
        return await asyncio.wait_for(process.wait(), TIMEOUT_S)

    async def leader(self) -> str:
        """The id of the node that leads, by its own word, once it can answer as the leader."""
        await self.client.stats()
        for node_id in self._processes:
            channel = Channel(self.addresses[node_id])
            try:
                status = await RaftServiceStub(channel).GetRaftStatus(  # type: ignore[arg-type]
                    GetRaftStatusRequest(), timeout=2
                )
            except ServiceError:
                continue
            finally:
                await channel.close()
            if status.ready:
                return node_id
        raise AssertionError("somebody answered as the leader, and nobody is it now")

    async def close(self) -> None:
        await self.client.close()
        for node_id in list(self._processes):
            self.resume(node_id)
            await self.kill(node_id)

    def log(self, node_id: str) -> str:
        return (self._directory / f"{node_id}.log").read_text()

    def _environment(self, node_id: str) -> dict[str, str]:
        return {
            **os.environ,
            "NODE_ID": node_id,
            "BIND_HOST": "127.0.0.1",
            "PORT": self.addresses[node_id].rpartition(":")[2],
            "RAFT_PEERS": ",".join(f"{peer}={address}" for peer, address in self.addresses.items()),
            "DATA_DIR": str(self._directory / node_id),
            "DATABASE_URL": self._database_url,
        }


@contextlib.asynccontextmanager
async def queue_processes(directory: Path, database_url: str = "") -> AsyncIterator[QueueProcesses]:
    queue = QueueProcesses(directory, database_url)
    try:
        for node_id in NODE_IDS:
            await queue.start(node_id)
        yield queue
    finally:
        await queue.close()
