"""Leadership handed on between real executors while orders flow: by rotation, and by a leader that is asked to stop."""

import asyncio
import itertools
from pathlib import Path

from order_executor.config import ExecutorConfig
from order_executor.node import ExecutorNode
from tests.integration.order_executor.neighbours import addresses, end_doubts, executor_environments, neighbours
from tests.integration.order_executor.test_crashes import executors, leader
from tests.unit.order_executor.world import World, eventually, queued_order
from utils.config import from_environment

ORDERS = 30


async def test_every_order_is_ended_by_another_epoch(tmp_path: Path) -> None:
    world = World(declined=[3])
    world.queue.put(*(queued_order(number) for number in range(ORDERS)))
    ended_at: list[float] = []

    async def note(_results: object) -> None:
        ended_at.append(asyncio.get_running_loop().time())

    world.queue.on_complete = note
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path), LEADERSHIP_ROTATION="every:1")
        async with executors(environments) as nodes:
            await eventually(lambda: world.queue.is_done, "all orders end")
            await end_doubts(world, addresses(environments))
            assert all(not task.done() for task in nodes.values())
    world.assert_books_agree()
    epochs = [result.epoch for result in world.queue.results.values()]
    assert epochs == sorted(set(epochs))
    assert len(epochs) == ORDERS
    gaps = [later - earlier for earlier, later in itertools.pairwise(ended_at)]
    # Handing over needs no timeout. (Half of the gaps: a busy machine makes some of them long.)
    assert sorted(gaps)[len(gaps) // 2] < 0.3, gaps


async def test_a_leader_that_is_asked_to_stop_hands_over_without_a_timeout(tmp_path: Path) -> None:
    world = World()
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path))
        nodes: dict[ExecutorNode, tuple[asyncio.Task[None], asyncio.Event]] = {}
        for environment in environments.values():
            node = ExecutorNode(from_environment(ExecutorConfig, environment))
            stopping = asyncio.Event()
            nodes[node] = (asyncio.create_task(node.run(stopping)), stopping)
        tasks = {node: task for node, (task, _) in nodes.items()}
        await eventually(lambda: leader(tasks) is not None, "one leads")
        first = leader(tasks)
        assert first is not None
        world.queue.put(*(queued_order(number) for number in range(ORDERS)))
        await eventually(lambda: len(world.queue.results) > 0, "orders flow")
        epoch = first.election.status.epoch
        nodes[first][1].set()
        await nodes[first][0]
        # While it lived it was heard: only what it asked for itself can have started another epoch before it ended.
        assert first.election.status.epoch > epoch
        world.queue.put(*(queued_order(number) for number in range(ORDERS, 2 * ORDERS)))
        await eventually(lambda: world.queue.is_done, "all orders end")
        await end_doubts(world, addresses(environments))
        for task, stopping in nodes.values():
            stopping.set()
            await task
    world.assert_books_agree()
