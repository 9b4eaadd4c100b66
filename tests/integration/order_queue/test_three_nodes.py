"""The contract of the queue, on each engine: what executors and orchestrators see when its leader changes."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from order_queue.node import QueueNode
from order_queue.wakeups import WORK, end_of
from tests.integration.order_queue.queue_cluster import (
    NODE_IDS,
    WAIT_MS,
    LocalQueue,
    eventually,
    local_queue,
    poll_request,
)
from tests.support.etcd import ENGINES
from tests.support.postgres import PostgresServer
from tests.unit.order_queue.harness import approved, rejected, rejection_request
from tests.unit.order_queue.words import order_id
from utils.pb import order_queue_pb2 as pb
from utils.pb.order_queue_pb2_grpc import OrderQueueServiceStub
from utils.rpc.channel import Channel
from utils.rpc.errors import FailedPrecondition, NotLeader, Unavailable

# Takes what local_queue takes besides the directory and the engine.
QueueOn = Callable[..., AbstractAsyncContextManager[LocalQueue]]


@pytest.fixture(params=ENGINES)
def queue_on(request: pytest.FixtureRequest, tmp_path: Path) -> QueueOn:
    return partial(local_queue, tmp_path, engine=request.param)


async def test_priority_holds_across_a_change_of_leader(queue_on: QueueOn) -> None:
    async with queue_on() as queue:
        quantities = {number: number % 5 + 1 for number in range(1, 21)}
        for number in range(1, 11):
            await queue.client.enqueue(number, quantities[number])
        await queue.stop(await queue.leader())
        for number in range(11, 21):
            await queue.client.enqueue(number, quantities[number])
        expected = sorted(quantities, key=lambda number: (-quantities[number], number))
        assert await queue.client.poll(max_orders=12) == expected[:12]
        assert await queue.client.poll(*expected[:12]) == expected[12:]


async def test_claims_follow_the_executor_to_the_new_leader(queue_on: QueueOn) -> None:
    async with queue_on() as queue:
        for number in range(1, 6):
            await queue.client.enqueue(number)
        assert await queue.client.poll(max_orders=3, epoch=5) == [1, 2, 3]
        await queue.client.complete(approved(1))
        await queue.stop(await queue.leader())
        # Order 3 was in an answer that the executor never read.
        assert await queue.client.poll(2, epoch=5) == [3, 4, 5]
        with pytest.raises(FailedPrecondition):
            await queue.client.poll(epoch=4)


async def test_a_waiting_poll_and_a_waiting_customer_outlive_the_leader(queue_on: QueueOn) -> None:
    async with queue_on() as queue:
        await queue.client.enqueue(1)
        customer = asyncio.create_task(queue.client.get(1, WAIT_MS))
        executor = asyncio.create_task(queue.client.poll(1, wait_ms=WAIT_MS))
        leader = await queue.leader()
        wakeups = queue.nodes[leader].wakeups
        await eventually(lambda: wakeups.is_awaited(WORK) and wakeups.is_awaited(end_of(order_id(1))))
        await queue.stop(leader)
        await queue.client.enqueue(2)
        assert await executor == [2]
        await queue.client.complete(approved(1), rejected(2))
        assert (await customer).state == pb.OrderRecord.STATE_APPROVED
        assert (await queue.client.get(2)).state == pb.OrderRecord.STATE_REJECTED


async def test_followers_redirect_by_address_and_know_ends(queue_on: QueueOn) -> None:
    async with queue_on() as queue:
        await queue.client.enqueue(1)
        await queue.client.enqueue(2)
        await queue.client.complete(approved(1))
        leader = await queue.leader()
        follower = next(node_id for node_id in NODE_IDS if node_id != leader)
        leader_address = queue.addresses[NODE_IDS.index(leader)]
        channel = Channel(queue.addresses[NODE_IDS.index(follower)])
        stub = OrderQueueServiceStub(channel)  # type: ignore[arg-type]
        with pytest.raises(NotLeader) as redirect:
            await stub.Dequeue(poll_request(), timeout=5)
        assert redirect.value.leader_address == leader_address
        machine = queue.nodes[follower].machine
        await eventually(lambda: machine.ended_count == 1)
        ended = await stub.GetOrder(pb.GetOrderRequest(order_id=order_id(1)), timeout=5)
        assert ended.record.state == pb.OrderRecord.STATE_APPROVED
        with pytest.raises(NotLeader):
            await stub.GetOrder(pb.GetOrderRequest(order_id=order_id(2)), timeout=5)
        await channel.close()


async def test_many_orders_at_once_are_all_accepted_and_kept_by_every_node(queue_on: QueueOn) -> None:
    async with queue_on() as queue:
        records = await asyncio.gather(*(queue.client.enqueue(number) for number in range(200)))
        assert len({record.position for record in records}) == 200
        leader = await queue.leader()
        snapshot = queue.nodes[leader].machine.snapshot()
        for node_id, node in queue.nodes.items():
            await eventually(partial(_holds, node, 200))
            assert node.machine.snapshot() == snapshot, node_id


# On etcd the last node that runs leads, and is healthy.
@pytest.mark.parametrize("queue_on", ["raft"], indirect=True)
async def test_a_node_is_healthy_while_it_knows_a_leader(queue_on: QueueOn) -> None:
    async with queue_on() as queue:
        await queue.leader()
        await queue.client.enqueue(1)
        await _health_becomes(health_pb2.HealthCheckResponse.SERVING, queue.addresses[0])
        await queue.stop(NODE_IDS[1])
        await queue.stop(NODE_IDS[2])
        await _health_becomes(health_pb2.HealthCheckResponse.NOT_SERVING, queue.addresses[0])


async def test_every_end_is_in_postgresql_once_though_it_was_away_and_the_leader_changed(
    queue_on: QueueOn, postgres: PostgresServer
) -> None:
    async with queue_on(postgres.dsn) as queue:
        for number in range(1, 6):
            await queue.client.enqueue(number)
        await queue.client.complete(approved(1))
        await queue.client.all_recorded()
        postgres.stop()
        await queue.client.complete(approved(2), rejected(3))
        await queue.client.stub.RecordRejection(rejection_request(9), timeout=10)
        assert (await queue.client.stats()).unrecorded == 3
        await queue.stop(await queue.leader())
        await queue.client.complete(approved(4))
        assert (await queue.client.get(2)).state == pb.OrderRecord.STATE_APPROVED
        postgres.start()
        await queue.client.all_recorded()
        assert (await queue.client.stats()).completed == 5
        with psycopg.connect(postgres.dsn) as connection:
            states = connection.execute("SELECT order_id, state FROM order_records ORDER BY order_id").fetchall()
        ends = {1: "approved", 2: "approved", 3: "rejected", 4: "approved", 9: "rejected"}
        assert states == [(order_id(number), state) for number, state in ends.items()]


def _holds(node: QueueNode, pending_count: int) -> bool:
    return node.machine.pending_count == pending_count


async def _health_becomes(status: int, address: str) -> None:
    channel = Channel(address)
    stub = health_pb2_grpc.HealthStub(channel)

    async def is_so() -> bool:
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        return bool(response.status == status)

    await eventually(is_so)
    await channel.close()


async def test_old_orders_are_forgotten_by_every_node_and_answered_from_postgresql(
    queue_on: QueueOn, postgres: PostgresServer
) -> None:
    async with queue_on(postgres.dsn, keys_remembered_s=0.2) as queue:
        await queue.client.enqueue(1, 3)
        await queue.client.complete(approved(1))
        ended = await queue.client.get(1)
        await queue.client.all_recorded()
        later = itertools.count(2)

        async def is_forgotten() -> bool:
            # Only an order that ends makes the leader look for what is old.
            number = next(later)
            await queue.client.enqueue(number)
            await queue.client.complete(approved(number))
            return all(node.machine.is_forgotten(order_id(1)) for node in queue.nodes.values())

        await eventually(is_forgotten)
        assert await queue.client.get(1) == await queue.client.enqueue(1, 3) == ended
        assert await queue.client.poll() == []
        postgres.stop()
        with pytest.raises(Unavailable, match="ended long ago"):
            await queue.client.get(1)
        assert (await queue.client.enqueue(next(later))).state == pb.OrderRecord.STATE_PENDING
