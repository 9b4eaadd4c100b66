"""Clusters of other kinds than three nodes by Raft, as processes that are killed while orders flow."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.order_executor.neighbours import addresses, end_doubts, executor_environments, neighbours
from tests.integration.order_executor.processes import executor_processes, start_executor
from tests.integration.order_executor.test_absences import statuses_when_a_leader_is_known
from tests.unit.order_executor.world import World, eventually, queued_order

pytestmark = pytest.mark.slow

DECLINED = 3


@contextlib.asynccontextmanager
async def orders_flowing(world: World) -> AsyncIterator[None]:
    """Some order is always waiting; at the end all have ended, each once (World.assert_books_agree)."""
    number = 0

    async def put() -> None:
        nonlocal number
        while True:
            number += 1
            world.queue.put(queued_order(number))
            await asyncio.sleep(0.02)

    flow = asyncio.create_task(put())
    try:
        yield
        flow.cancel()
        await eventually(lambda: world.queue.is_done, "all orders end")
    finally:
        flow.cancel()


async def leader_is(environments: dict[str, dict[str, str]], node_id: str, world: World) -> None:
    """Waits until it leads and has ended orders."""
    await eventually(
        lambda: any(result.epoch == world.queue.highest_epoch for result in world.queue.results.values()),
        "orders end in the newest epoch",
    )
    statuses = await statuses_when_a_leader_is_known(environments)
    assert [status.node_id for status in statuses.values() if status.is_leader] == [node_id]


async def test_bully_the_next_highest_takes_over_and_the_old_leader_takes_over_again(tmp_path: Path) -> None:
    world = World(declined=[DECLINED])
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path), count=4, EXECUTOR_ELECTION="bully")
        *_, third, fourth = environments
        others = {node_id: environment for node_id, environment in environments.items() if node_id != fourth}
        async with executor_processes(environments, tmp_path) as processes:
            async with orders_flowing(world):
                await eventually(lambda: len(world.queue.results) > 5, "orders flow")
                await leader_is(environments, fourth, world)
                first_epoch = world.queue.highest_epoch

                processes[fourth].send_signal(signal.SIGKILL)
                await processes[fourth].wait()
                await eventually(lambda: world.queue.highest_epoch > first_epoch, "another leader polls")
                await leader_is(others, third, world)
                second_epoch = world.queue.highest_epoch

                processes[fourth] = await start_executor(environments[fourth], tmp_path)
                await eventually(lambda: world.queue.highest_epoch > second_epoch, "the old leader polls again")
                await leader_is(environments, fourth, world)

                # Stopped, and continued when another one has taken over: it is fenced, whatever it believes.
                processes[fourth].send_signal(signal.SIGSTOP)
                third_epoch = world.queue.highest_epoch
                await eventually(lambda: world.queue.highest_epoch > third_epoch, "another leader polls")
                processes[fourth].send_signal(signal.SIGCONT)
                fourth_epoch = world.queue.highest_epoch
                await eventually(lambda: world.queue.highest_epoch > fourth_epoch, "the highest leads again")
            await end_doubts(world, addresses(environments))
    world.assert_books_agree()
    epoch = served.database_machine.executors.epoch
    assert (epoch.node_id, epoch.number >= 5) == (fourth, True)


async def test_five_nodes_bear_the_loss_of_two(tmp_path: Path) -> None:
    world = World(declined=[DECLINED])
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path), count=5)
        async with executor_processes(environments, tmp_path) as processes:
            async with orders_flowing(world):
                await eventually(lambda: len(world.queue.results) > 5, "orders flow")
                for _ in range(2):
                    running = {
                        node_id: environments[node_id]
                        for node_id, process in processes.items()
                        if process.returncode is None
                    }
                    statuses = await statuses_when_a_leader_is_known(running)
                    (leader,) = (status.node_id for status in statuses.values() if status.is_leader)
                    epoch = world.queue.highest_epoch
                    processes[leader].kill()
                    await processes[leader].wait()
                    await eventually(lambda epoch=epoch: world.queue.highest_epoch > epoch, "another leader polls")  # type: ignore[misc]
            await end_doubts(world, addresses(environments))
            assert sum(process.returncode is None for process in processes.values()) == 3
    world.assert_books_agree()
