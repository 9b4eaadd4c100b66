"""A replica is as fresh as what it has applied of what the primary had."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from db_node.freshness import Freshness
from db_node.servicer import DatabaseServicer
from tests.unit.db_node.fake_consensus import FakeConsensus
from tests.unit.db_node.words import Database
from utils.pb.database_pb2_grpc import add_DatabaseServiceServicer_to_server
from utils.raft.errors import OutcomeUnknownError
from utils.rpc.server import RpcServer


class Pair:
    """A primary on a socket, and a replica that knows its address."""

    def __init__(self) -> None:
        self.primary = FakeConsensus(Database())
        self.primary_freshness = Freshness(self.primary)
        servicer = DatabaseServicer(self.primary, Database(), self.primary_freshness)
        self.server = RpcServer("127.0.0.1:0", node_id="db-node1")
        add_DatabaseServiceServicer_to_server(servicer, self.server)  # type: ignore[arg-type]
        self.replica = FakeConsensus(Database())
        self.replica.become(node_id="db-node2", leader_address=f"127.0.0.1:{self.server.port}", ready=False)
        self.freshness = Freshness(self.replica)

    def primary_applied(self, index: int) -> None:
        self.primary.status = replace(self.primary.status, last_applied=index)

    def replica_applied(self, index: int) -> None:
        self.replica.status = replace(self.replica.status, last_applied=index)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    nodes = Pair()
    await nodes.server.start()
    yield nodes
    await nodes.freshness._close()
    await nodes.server.stop(grace_s=0)


async def test_a_replica_is_fresh_only_once_it_has_applied_what_the_primary_had(pair: Pair) -> None:
    await pair.primary_freshness.measure()
    pair.primary_applied(5)
    await pair.freshness.measure()
    assert pair.freshness.stale_ms is None
    pair.replica_applied(4)
    assert pair.freshness.stale_ms is None
    pair.replica_applied(5)
    assert pair.freshness.stale_ms is not None


async def test_what_the_primary_does_not_know_the_replica_does_not_know(pair: Pair) -> None:
    await pair.freshness.measure()
    assert pair.freshness.stale_ms is None


async def test_the_age_of_the_primary_is_part_of_the_replicas(pair: Pair) -> None:
    await pair.primary_freshness.measure()
    await asyncio.sleep(0.2)
    await pair.freshness.measure()
    assert pair.freshness.stale_ms is not None
    assert 200 <= pair.freshness.stale_ms < 5_000


async def test_a_slow_confirmation_counts_from_the_moment_of_asking(pair: Pair) -> None:
    pair.primary.majority.clear()
    measuring = asyncio.create_task(pair.primary_freshness.measure())
    await asyncio.sleep(0.2)
    pair.primary.majority.set()
    await measuring
    assert pair.primary_freshness.stale_ms is not None
    assert pair.primary_freshness.stale_ms >= 200


async def test_a_replica_that_lags_for_long_gets_fresher_step_by_step(pair: Pair) -> None:
    for index in (3, 6):
        await pair.primary_freshness.measure()
        pair.primary_applied(index)
        await pair.freshness.measure()
        await asyncio.sleep(0.05)
    pair.replica_applied(3)
    older = pair.freshness.stale_ms
    pair.replica_applied(6)
    newer = pair.freshness.stale_ms
    assert older is not None
    assert newer is not None
    assert newer <= older - 40


async def test_it_goes_on_measuring_after_a_failure(pair: Pair) -> None:
    pair.primary.failures = [OutcomeUnknownError("deposed")]
    task = asyncio.create_task(pair.primary_freshness.run())
    async with asyncio.timeout(10):
        await pair.primary.confirmed.wait()
    assert pair.primary_freshness.stale_ms is not None
    task.cancel()
    await asyncio.wait((task,))
