"""Leaders that wake up late, participants that come and go, everything started again, and who answers questions."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from order_executor.node import DATABASE
from tests.integration.order_executor.crash_points import CrashPoint
from tests.integration.order_executor.neighbours import addresses, end_doubts, executor_environments, neighbours
from tests.integration.order_executor.processes import executor_processes
from tests.unit.order_executor.world import World, eventually, order_id, queued_order
from utils.pb import order_executor_pb2, two_phase_commit_pb2
from utils.pb.order_executor_pb2_grpc import OrderExecutorServiceStub
from utils.pb.two_phase_commit_pb2_grpc import CoordinatorServiceStub
from utils.rpc.channel import Channel
from utils.rpc.errors import InvalidArgument, NotLeader, Unavailable

Status = order_executor_pb2.GetExecutorStatusResponse


@contextlib.asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[Channel]:
    channel = Channel(address)
    try:
        yield channel
    finally:
        await channel.close()


async def status_of(address: str) -> Status:
    async with channel_to(address) as channel:
        stub = OrderExecutorServiceStub(channel)  # type: ignore[arg-type]
        return await stub.GetExecutorStatus(order_executor_pb2.GetExecutorStatusRequest(), timeout=5)


async def statuses_when_a_leader_is_known(environments: dict[str, dict[str, str]]) -> dict[str, Status]:
    """By address."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Unavailable):
                statuses = {address: await status_of(address) for address in addresses(environments)}
                leaders = [status.node_id for status in statuses.values() if status.is_leader]
                if len(leaders) == 1 and all(status.leader_id == leaders[0] for status in statuses.values()):
                    return statuses
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        CrashPoint.BEFORE_PREPARE,
        CrashPoint.ONE_PREPARED,
        CrashPoint.ALL_VOTES_IN,
        CrashPoint.DECISION_COMMITTED,
        CrashPoint.ONE_TOLD,
        CrashPoint.ALL_TOLD,
    ],
)
async def test_what_a_leader_does_that_wakes_up_late_has_no_effect(point: CrashPoint, tmp_path: Path) -> None:
    """It is stopped at a point, replaced, and goes on from there when its successor has ended all of its orders."""
    world = World({"Book A": 100}, declined=[2])
    world.queue.put(*(queued_order(number) for number in range(6)))
    marker = tmp_path / "caught"
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path))
        command = ("tests.integration.order_executor.crashing_executor", point, DATABASE, "SIGSTOP", str(marker))
        async with executor_processes(environments, tmp_path, command) as processes:
            await eventually(lambda: world.queue.is_done and marker.exists(), "others end the orders")
            epoch = world.queue.highest_epoch
            assert epoch > 1
            processes[marker.read_text()].send_signal(signal.SIGCONT)
            await statuses_when_a_leader_is_known(environments)
            world.queue.put(*(queued_order(number) for number in range(6, 12)))
            await eventually(lambda: world.queue.is_done, "the orders after it end, too")
            await end_doubts(world, addresses(environments))
    world.assert_books_agree()
    approved = {order_id for order_id, result in world.queue.results.items() if result.approved}
    assert approved == {order_id(number) for number in range(12) if number != 2}


@pytest.mark.slow
async def test_decisions_survive_the_death_of_all_executors(tmp_path: Path) -> None:
    world = World(declined=[1])
    world.queue.put(queued_order(0), queued_order(1))

    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path))
        async with executor_processes(environments, tmp_path) as processes:
            world.payment.is_away = True
            await eventually(lambda: len(world.database.heard) > 0, "an attempt is under way")
            # Back for the vote, and away for the decision.
            await served.stop("queue")
            decided = asyncio.Event()

            async def no_decision(method: str, _messages: object) -> None:
                world.payment.is_away = method == "decide"
                if method == "decide":
                    decided.set()

            world.payment.on_arrival = no_decision
            world.payment.is_away = False
            await asyncio.wait_for(decided.wait(), 20)
            for process in processes.values():
                process.kill()
            for process in processes.values():
                await process.wait()
        assert world.queue.results == {}
        world.payment.on_arrival = None
        world.payment.is_away = False
        await served.start("queue")
        async with executor_processes(environments, tmp_path):
            await eventually(lambda: world.queue.is_done, "what was decided is done")
            await end_doubts(world, addresses(environments))
    world.assert_books_agree()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["queue", "database", "payment"])
async def test_a_neighbour_goes_away_and_comes_back_at_its_address(name: str, tmp_path: Path) -> None:
    world = World()
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path))
        async with executor_processes(environments, tmp_path):
            world.queue.put(queued_order(0))
            await eventually(lambda: world.queue.is_done, "the first order ends")
            await served.stop(name)
            world.queue.put(*(queued_order(number) for number in range(1, 20)))
            await asyncio.sleep(1)
            assert len(world.queue.results) == 1
            back_at = asyncio.get_running_loop().time()
            await served.start(name)
            await eventually(lambda: world.queue.is_done, "the others end")
            # An order ends at least every 3 s, whoever was away.
            assert asyncio.get_running_loop().time() - back_at < 3
            await end_doubts(world, addresses(environments))
    world.assert_books_agree()


@pytest.mark.slow
async def test_questions_are_answered_by_who_may(tmp_path: Path) -> None:
    world = World()
    world.queue.put(*(queued_order(number) for number in range(3)))
    async with neighbours(world) as served:
        environments = executor_environments(served, str(tmp_path))
        async with executor_processes(environments, tmp_path):
            await eventually(lambda: world.queue.is_done, "all orders end")
            statuses = await statuses_when_a_leader_is_known(environments)
            leader = next(address for address, status in statuses.items() if status.is_leader)
            assert statuses[leader].epoch == world.queue.highest_epoch

            attempt = two_phase_commit_pb2.Attempt(order_id=order_id(0), epoch=statuses[leader].epoch, number=9)
            for address in statuses:
                async with channel_to(address) as channel:
                    stub = CoordinatorServiceStub(channel)  # type: ignore[arg-type]
                    request = two_phase_commit_pb2.ResolveRequest(attempts=[attempt])
                    if address == leader:
                        (resolution,) = (await stub.Resolve(request, timeout=5)).resolutions
                        assert resolution.attempt == attempt
                        assert resolution.kind == two_phase_commit_pb2.Resolution.KIND_ABORTED
                        with pytest.raises(InvalidArgument):
                            await stub.Resolve(
                                two_phase_commit_pb2.ResolveRequest(attempts=[attempt] * 2_000), timeout=5
                            )
                    else:
                        with pytest.raises(NotLeader) as redirect:
                            await stub.Resolve(request, timeout=5)
                        assert redirect.value.leader_address == leader
            async with asyncio.timeout(10):
                while (await status_of(leader)).orders_finished < 3:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.05)
            assert (await status_of(leader)).orders_in_flight == 0
