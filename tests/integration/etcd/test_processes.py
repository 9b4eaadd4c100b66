"""Database nodes as processes, with their log in etcd: killed, and stopped for longer than their lease."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.db_node.database_cluster import TIMEOUT_S, DatabaseProcesses, database_processes
from tests.support.etcd import etcd_members, needs_etcd
from utils.db_client.client import DatabaseClient
from utils.pb import database_pb2 as pb, database_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import DeadlineExceeded, NotLeader, Unavailable

pytestmark = needs_etcd

BOOK = "Book A"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[DatabaseProcesses]:
    async with etcd_members(tmp_path) as etcd:
        settings = {"STORE": "etcd", "ETCD_ENDPOINTS": ",".join(etcd.endpoints.values())}
        async with database_processes(tmp_path, settings=settings) as running:
            await running.primary()
            yield running


async def decrement(client: DatabaseClient) -> int:
    # Reached only when something is broken.
    return await client.decrement_stock(BOOK, 1, timeout_s=4 * TIMEOUT_S)


async def test_a_primary_that_is_killed_loses_nothing(database: DatabaseProcesses, tmp_path: Path) -> None:
    client = DatabaseClient(database.addresses)
    before = await decrement(client)
    killed = await database.primary()
    await database.kill(killed)
    assert await decrement(client) == before - 1
    await database.start(killed)
    await database.until(lambda status: status.node_id == killed and status.last_applied >= 3)
    assert await decrement(client) == before - 2
    assert {path.name for path in (tmp_path / killed).iterdir()} == {"engine"}, "the log is not on a node's own disk"
    await client.close()


async def test_a_primary_that_was_stopped_past_its_lease_does_not_act_on_what_waited_for_it(
    database: DatabaseProcesses,
) -> None:
    everyone = DatabaseClient(database.addresses)
    before = await decrement(everyone)
    stopped = await database.primary()
    channel = Channel(database.peers[stopped])
    stub = database_pb2_grpc.DatabaseServiceStub(channel)  # type: ignore[arg-type]
    key = f"stock:{BOOK}"
    read = pb.ReadRequest(key=key, consistency=pb.CONSISTENCY_LINEARIZABLE)

    async def ask() -> int:
        return int((await stub.Read(read, timeout=TIMEOUT_S)).entry.value.integer)

    assert await ask() == before
    database.send_signal(stopped, signal.SIGSTOP)
    try:
        # They wait in its socket until it goes on, and are the first that it sees then.
        reads = [asyncio.create_task(ask()) for _ in range(5)]
        await database.until(lambda status: status.is_primary and status.node_id != stopped)
        others = DatabaseClient([address for node, address in database.peers.items() if node != stopped])
        assert await decrement(others) == before - 1
    finally:
        database.send_signal(stopped, signal.SIGCONT)
    for waiting in reads:
        # Not led here any more; or the channel has given up on a peer that was silent.
        with pytest.raises((NotLeader, Unavailable, DeadlineExceeded)):
            await waiting
    await database.until(lambda status: status.node_id == stopped and not status.is_primary and status.primary_id)
    assert await decrement(everyone) == before - 2
    for client in (everyone, others, channel):
        await client.close()
