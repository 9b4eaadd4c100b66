"""The coordinator dies at every row of the crash table; the next leader brings all to the same end.

Three executors over a real Raft log, and the queue and the participants over real sockets. Once as tasks of one
process, which is quick, and once as processes that die by SIGKILL.
"""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from order_executor.config import ExecutorConfig
from order_executor.node import DATABASE, PAYMENT, ExecutorNode
from tests.integration.order_executor.crash_points import CrashPoint, Trap, install
from tests.integration.order_executor.neighbours import addresses, end_doubts, executor_environments, neighbours
from tests.integration.order_executor.processes import executor_processes
from tests.support.etcd import ENGINES, endpoints_for
from tests.unit.order_executor.world import World, eventually, order_id, queued_order
from utils.config import from_environment

ORDERS = 8
# Where one participant is told before the other, both orders are tried.
ROWS = [
    (point, first)
    for point, first in itertools.product(CrashPoint, (DATABASE, PAYMENT))
    if first == DATABASE or point in (CrashPoint.ONE_PREPARED, CrashPoint.ONE_TOLD)
]


def world_with_orders() -> World:
    """Some will be approved, one declined, and one finds too few copies: COMMITs and REJECTs meet the same crash."""
    world = World({"Book A": 100, "Book B": 1}, declined=[3])
    world.queue.put(*(queued_order(number, number) for number in range(1, ORDERS)))
    world.queue.put(queued_order(ORDERS, 2, "Book B"))
    return world


def assert_all_ended_as_they_should(world: World) -> None:
    world.assert_books_agree()
    approved = {order_id for order_id, result in world.queue.results.items() if result.approved}
    assert approved == {order_id(number) for number in range(1, ORDERS) if number != 3}


class TaskTrap(Trap):
    """Ends the tasks of a node: nothing more of it reaches anybody."""

    def __init__(self, point: CrashPoint, first: str) -> None:
        super().__init__(point, first)
        self.caught: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_armed(self) -> bool:
        return not self.caught.done()

    async def crash(self) -> None:
        if not self.caught.done():
            self.caught.set_result(None)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def executors(
    environments: dict[str, dict[str, str]], trap: Trap | None = None
) -> AsyncIterator[dict[ExecutorNode, asyncio.Task[None]]]:
    """Three nodes and the tasks that run them, in this process."""
    tasks: dict[ExecutorNode, asyncio.Task[None]] = {}
    for environment in environments.values():
        node = ExecutorNode(from_environment(ExecutorConfig, environment))
        if trap is not None:
            install(node, trap)
        tasks[node] = asyncio.create_task(node.run(asyncio.Event()))
    try:
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


def leader(nodes: dict[ExecutorNode, asyncio.Task[None]]) -> ExecutorNode | None:
    return next((node for node, task in nodes.items() if node.election.status.ready and not task.done()), None)


@pytest.mark.parametrize("election", ["bully", *ENGINES])
@pytest.mark.parametrize(("point", "first"), ROWS)
async def test_the_next_leader_ends_what_a_dead_one_began(
    point: CrashPoint, first: str, election: str, tmp_path: Path
) -> None:
    world = world_with_orders()
    async with neighbours(world) as served, endpoints_for(election, tmp_path) as endpoints:
        trap = TaskTrap(point, first)
        environments = executor_environments(
            served, str(tmp_path), EXECUTOR_ELECTION=election, ETCD_ENDPOINTS=",".join(endpoints)
        )
        async with executors(environments, trap) as nodes:
            await asyncio.wait_for(trap.caught, 20)
            dead = leader(nodes)
            assert dead is not None
            unfinished = ORDERS - len(world.queue.results)
            assert unfinished > 0 or point is CrashPoint.COMPLETED
            nodes[dead].cancel()
            await asyncio.wait((nodes[dead],))
            await eventually(lambda: world.queue.is_done, "all orders end")
            await eventually(
                lambda: (
                    (successor := leader(nodes)) is not None and successor.election.decisions.finished_count == ORDERS
                ),
                "all are recorded as finished",
            )
            await end_doubts(world, addresses(environments))
    assert_all_ended_as_they_should(world)


@pytest.mark.slow
@pytest.mark.parametrize(("point", "first"), ROWS)
async def test_a_leader_that_is_killed_is_replaced_by_one_that_ends_its_orders(
    point: CrashPoint, first: str, tmp_path: Path
) -> None:
    world = world_with_orders()
    marker = tmp_path / "caught"
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path))
        command = ("tests.integration.order_executor.crashing_executor", point, first, "SIGKILL", str(marker))
        async with executor_processes(environments, tmp_path, command) as processes:
            await eventually(lambda: world.queue.is_done and marker.exists(), "all orders end")
            dead = marker.read_text()
            assert await processes[dead].wait() == -signal.SIGKILL
            await end_doubts(world, addresses(environments))
            assert [node_id for node_id, process in processes.items() if process.returncode is not None] == [dead]
    assert_all_ended_as_they_should(world)
