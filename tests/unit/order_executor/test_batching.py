"""What is submitted together travels together, and nothing waits long for something else."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from order_executor.batching import CALLS_MAX, ITEMS_MAX, Batcher
from tests.unit.order_executor.world import eventually
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalRefusedError
from utils.rpc.errors import InvalidArgument, ResourceExhausted, Unavailable


class Peer:
    """Doubles numbers. Calls with an item of `slow` wait for `released`; an item of `errors` fails its call."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.slow: set[int] = set()
        self.released = asyncio.Event()
        self.errors: dict[int, Exception] = {}
        self.size_max = ITEMS_MAX

    async def send(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await asyncio.sleep(0.001)
        if len(items) > self.size_max:
            raise ProposalRefusedError("too large")
        if self.slow & set(items):
            await self.released.wait()
        for item in items:
            if item in self.errors:
                raise self.errors[item]
        return [2 * item for item in items]


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as group:
        yield group


async def submit(batcher: Batcher[int, int], items: Sequence[int]) -> list[int | BaseException]:
    return await asyncio.gather(*(batcher.submit(item) for item in items), return_exceptions=True)


async def test_what_comes_in_one_turn_of_the_loop_is_one_call(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    assert await submit(Batcher(tasks, peer.send), range(10)) == [2 * item for item in range(10)]
    assert peer.batches == [list(range(10))]


async def test_calls_are_bounded_in_size_and_number(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    everything = list(range(ITEMS_MAX * (CALLS_MAX + 4)))
    peer.slow = set(everything)
    batcher = Batcher(tasks, peer.send)
    results = asyncio.create_task(submit(batcher, everything))
    await eventually(lambda: len(peer.batches) == CALLS_MAX, "all calls that may run, run")
    await asyncio.sleep(0.1)
    assert len(peer.batches) == CALLS_MAX
    peer.released.set()
    assert await results == [2 * item for item in everything]
    assert max(len(batch) for batch in peer.batches) == ITEMS_MAX


async def test_while_a_call_is_under_way_the_next_gathers(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    batcher = Batcher(tasks, peer.send)

    async def later(item: int) -> int:
        await eventually(lambda: len(peer.batches) == 1, "the first call is under way")
        return await batcher.submit(item)

    assert await asyncio.gather(batcher.submit(0), *(later(item) for item in range(1, 6))) == [0, 2, 4, 6, 8, 10]
    assert [sorted(batch) for batch in peer.batches] == [[0], [1, 2, 3, 4, 5]]


async def test_a_slow_call_does_not_hold_the_others(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    peer.slow = {1}
    batcher = Batcher(tasks, peer.send)
    slow = asyncio.create_task(batcher.submit(1))
    await eventually(lambda: peer.batches == [[1]], "the slow call is under way")
    for item in range(2, 8):
        assert await batcher.submit(item) == 2 * item
    assert not slow.done()
    peer.released.set()
    assert await slow == 2


async def test_an_item_that_cannot_be_understood_fails_alone(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    peer.errors = {2: InvalidArgument("not this one")}
    results = await submit(Batcher(tasks, peer.send), range(4))
    assert [result for result in results if not isinstance(result, BaseException)] == [0, 2, 6]
    assert isinstance(results[2], InvalidArgument)


async def test_what_is_too_large_together_goes_alone(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    peer.size_max = 1
    assert await submit(Batcher(tasks, peer.send), range(4)) == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "error",
    [Unavailable("away"), ResourceExhausted("full"), OutcomeUnknownError("who knows"), NotLeaderError(None, None)],
)
async def test_a_peer_in_trouble_is_not_asked_item_by_item(tasks: asyncio.TaskGroup, error: Exception) -> None:
    peer = Peer()
    peer.errors = {2: error}
    results = await submit(Batcher(tasks, peer.send), range(4))
    assert results == [error] * 4
    assert peer.batches == [[0, 1, 2, 3]]


async def test_an_item_whose_submitter_left_is_not_sent(tasks: asyncio.TaskGroup) -> None:
    peer = Peer()
    peer.slow = {1}
    batcher = Batcher(tasks, peer.send)
    submitters = [asyncio.create_task(batcher.submit(1))]
    await eventually(lambda: peer.batches == [[1]], "the first call is under way")
    submitters += [asyncio.create_task(batcher.submit(item)) for item in (2, 3)]
    await asyncio.sleep(0)
    submitters[1].cancel()
    peer.released.set()
    await asyncio.wait(submitters)
    assert peer.batches == [[1], [3]]


async def test_calls_end_with_their_group() -> None:
    peer = Peer()
    peer.slow = {1}

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            batcher = Batcher(tasks, peer.send)
            tasks.create_task(batcher.submit(1))
            await eventually(lambda: peer.batches == [[1]], "the call is under way")
            await batcher.submit(2)

    task = asyncio.create_task(work())
    await eventually(lambda: len(peer.batches) == 2 or task.done(), "the second call may have started")
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
