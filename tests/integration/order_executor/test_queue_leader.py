"""A real executor at a real queue, whose leader is killed while the outcome of a decision is not known."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from order_executor.clients import OrderQueueClient
from tests.integration.order_queue.queue_cluster import QueueProcesses, eventually, queue_processes
from tests.unit.order_executor.setup import Setup
from tests.unit.order_executor.world import World
from tests.unit.order_queue.words import order_id
from utils.pb import order_queue_pb2 as pb
from utils.rpc.cluster import ClusterChannel
from utils.two_phase_commit.messages import Attempt, Transaction

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def executor_at(queue: QueueProcesses, setup: Setup) -> AsyncIterator[None]:
    channel = ClusterChannel(tuple(queue.addresses.values()))
    setup.executor._queue = OrderQueueClient(channel, "order_executor_1")
    async with setup.running():
        yield
    await channel.close()


@pytest.mark.parametrize("declined", [frozenset(), frozenset({order_id(1)})], ids=["COMMIT", "REJECT"])
async def test_the_same_executor_polls_the_next_leader_and_does_not_take_the_order_again(
    declined: frozenset[str], tmp_path: Path
) -> None:
    world = World()
    world.till.declined = declined
    setup = Setup(world)
    # Until the test says so.
    setup.node.fates.extend(["late"] * 1_000)
    async with queue_processes(tmp_path) as queue:
        await queue.client.enqueue(1)
        async with executor_at(queue, setup):
            await eventually(lambda: len(setup.node.proposals) > 0)
            await queue.kill(await queue.leader())
            await queue.client.enqueue(2)
            # Whoever leads now has heard of the order in hand, and hands out the other one only.
            await eventually(lambda: any(asked.order_id == order_id(2) for asked in attempts(world)))
            assert (await queue.client.get(1)).state == pb.OrderRecord.STATE_PENDING
            setup.node.fates.clear()
            setup.node.commit_late()
            ended = await asyncio.gather(*(queue.client.get(number, 20_000) for number in (1, 2)))
    first = pb.OrderRecord.STATE_REJECTED if declined else pb.OrderRecord.STATE_APPROVED
    assert [record.state for record in ended] == [first, pb.OrderRecord.STATE_APPROVED]
    assert [asked for asked in attempts(world) if asked.order_id == order_id(1)] == [Attempt(order_id(1), 1, 1)]
    assert world.till.captured.keys() == {order_id(1), order_id(2)} - declined


def attempts(world: World) -> list[Attempt]:
    return [message.attempt for message in world.payment.heard if isinstance(message, Transaction)]
