"""Which node a stale read asks, and under which id a write is repeated."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.raft_cluster import free_ports
from utils.db_client import client as db_client
from utils.db_client.client import DatabaseClient
from utils.pb import database_pb2 as pb, database_pb2_grpc
from utils.rpc.errors import DeadlineExceeded, FailedPrecondition, NotLeader, Unavailable
from utils.rpc.server import RpcServer


class _Unserved(database_pb2_grpc.DatabaseServiceServicer):
    """What no test here asks for."""

    async def Read(self, request: Any, context: Any) -> pb.ReadResponse:
        raise NotImplementedError

    async def DecrementStock(self, request: Any, context: Any) -> pb.DecrementStockResponse:
        raise NotImplementedError

    async def GetDatabaseStatus(self, request: Any, context: Any) -> pb.GetDatabaseStatusResponse:
        raise NotImplementedError


class Node(_Unserved):
    """Has two keys; says of their age what it is told; redirects or fails writes as it is told."""

    def __init__(self, stale_ms: int | None = 5) -> None:
        self.stale_ms = stale_ms
        self.reads = 0
        self.writes: list[tuple[str, int]] = []
        self.arrived: asyncio.Queue[None] = asyncio.Queue()
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def ReadAll(self, request: pb.ReadAllRequest, context: Any) -> pb.ReadAllResponse:
        assert request.consistency == pb.CONSISTENCY_STALE
        self.reads += 1
        # One key a page, however many are asked for.
        key = "price:b" if request.after_key else "price:a"
        entry = pb.Entry(key=key, value=pb.Value(integer=7), version=1)
        return pb.ReadAllResponse(entries=[entry], more=key == "price:a", stale_ms=self.stale_ms)

    async def Write(self, request: pb.WriteRequest, context: Any) -> pb.WriteResponse:
        self.writes.append((request.request_id.client_id, request.request_id.sequence))
        self.arrived.put_nowait(None)
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return pb.WriteResponse(version=len(self.writes))


@contextlib.asynccontextmanager
async def serving(*nodes: Node) -> AsyncIterator[DatabaseClient]:
    servers = []
    for node in nodes:
        server = RpcServer("127.0.0.1:0", node_id="db-node")
        database_pb2_grpc.add_DatabaseServiceServicer_to_server(node, server)  # type: ignore[arg-type]
        await server.start()
        servers.append(server)
    client = DatabaseClient([f"127.0.0.1:{server.port}" for server in servers])
    try:
        yield client
    finally:
        await client.close()
        for server in servers:
            await server.stop(grace_s=0)


async def test_stale_reads_go_to_the_nodes_in_turn() -> None:
    nodes = [Node(), Node(), Node()]
    async with serving(*nodes) as client:
        for _ in range(6):
            answer = await client.read_all_stale("price:", timeout_s=5)
            assert [entry.key for entry in answer.entries] == ["price:a", "price:b"]
            assert answer.stale_ms == 5
    # Two pages each time.
    assert [node.reads for node in nodes] == [4, 4, 4]


async def test_an_answer_of_known_age_is_preferred() -> None:
    unsure, sure = Node(stale_ms=None), Node(stale_ms=9)
    async with serving(unsure, sure) as client:
        for _ in range(4):
            assert (await client.read_all_stale("price:", timeout_s=5)).stale_ms == 9
    assert unsure.reads > 0


async def test_an_answer_of_unknown_age_is_better_than_none_and_says_so() -> None:
    async with serving(Node(stale_ms=None)) as client:
        answer = await client.read_all_stale("price:", timeout_s=5)
    assert answer.stale_ms is None
    assert len(answer.entries) == 2


async def test_nodes_that_are_away_are_passed_over() -> None:
    nobody = [f"127.0.0.1:{port}" for port in free_ports(2)]
    server = RpcServer("127.0.0.1:0", node_id="db-node3")
    database_pb2_grpc.add_DatabaseServiceServicer_to_server(Node(), server)  # type: ignore[arg-type]
    await server.start()
    client = DatabaseClient([*nobody, f"127.0.0.1:{server.port}"])
    for _ in range(3):
        assert (await client.read_all_stale("price:", timeout_s=5)).stale_ms == 5
    await server.stop(grace_s=0)
    with pytest.raises(Unavailable):
        await client.read_all_stale("price:", timeout_s=5)
    await client.close()


async def test_a_write_is_repeated_under_its_own_id() -> None:
    node = Node()
    node.errors = [Unavailable("lost"), NotLeader("deposed")]
    async with serving(node) as client:
        assert await client.write("motd", "x", timeout_s=5) == 3
        assert len(set(node.writes)) == 1
        await client.write("motd", "y", timeout_s=5)
        assert len(set(node.writes)) == 2


async def test_a_refusal_is_not_repeated() -> None:
    node = Node()
    node.errors = [FailedPrecondition("another version")]
    async with serving(node) as client:
        with pytest.raises(FailedPrecondition):
            await client.write("motd", "x", timeout_s=5)
    assert len(node.writes) == 1


async def test_one_identity_never_has_two_writes_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_client, "WRITES_IN_FLIGHT_MAX", 2)
    node = Node()
    async with serving(node) as client:
        node.gate.clear()
        first = [asyncio.create_task(client.write("motd", "x", timeout_s=5)) for _ in range(2)]
        for _ in first:
            await node.arrived.get()
        with pytest.raises(DeadlineExceeded, match="2 writes are in flight"):
            await client.write("motd", "x", timeout_s=0.3)
        assert len({client_id for client_id, _ in node.writes}) == len(node.writes) == 2
        node.gate.set()
        await asyncio.gather(*first)
        # Those that come one after another use one of the two, with a sequence that grows.
        for _ in range(2):
            await client.write("motd", "x", timeout_s=5)
        (identity, third), (same, fourth) = node.writes[2:]
        assert (identity, third, fourth) == (same, 2, 3)
