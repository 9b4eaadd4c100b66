"""A leader that lets another one lead, by its rotation or before it stops: drained first, and silent from then on."""

import asyncio
from collections.abc import Sequence

import pytest

from order_executor import leadership
from tests.unit.order_executor.setup import Setup
from tests.unit.order_executor.world import Message, World, eventually, order_id, queued_order


async def hang(_method: str, _messages: Sequence[Message]) -> None:
    await asyncio.Event().wait()


async def test_leadership_is_handed_on_after_so_many_orders_with_none_in_hand() -> None:
    world = World()
    world.queue.put(*(queued_order(number) for number in range(9)))
    setup = Setup(world, rotate_after=3)
    async with setup.running():
        for term in range(1, 4):
            await eventually(lambda term=term: setup.node.transfers == term, "it hands over")  # type: ignore[misc]
            assert setup.executor.orders_in_flight == 0
            assert len(world.queue.results) == 3 * term
            polls = len(world.queue.polls)
            # Nobody has taken over yet, and nobody has failed to.
            await asyncio.sleep(0.05)
            assert len(world.queue.polls) == polls
            setup.node.become(term=term + 1, ready=False)
            setup.node.become(term=term + 1, ready=True)
        await setup.all_end()
    epochs = {result.order_id: result.epoch for result in world.queue.results.values()}
    assert sorted(epochs.values()) == [1] * 3 + [2] * 3 + [3] * 3


async def test_a_drained_leader_polls_again_only_when_nobody_takes_over() -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world, rotate_after=1)
    async with setup.running():
        await eventually(lambda: setup.node.transfers == 1, "it hands over")
        polls = len(world.queue.polls)
        world.queue.put(queued_order(2))
        await asyncio.sleep(0.05)
        assert len(world.queue.polls) == polls
        setup.node.transfer_fails.set()
        await eventually(lambda: setup.node.transfers == 2, "it leads on, and tries again after the next order")
        assert world.queue.results[order_id(2)].epoch == 1
        setup.node.become(term=2, ready=False)
    await setup.all_end()


async def test_a_slow_order_puts_rotation_off_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another leader would start it from the beginning, again and again."""
    monkeypatch.setattr(leadership, "DRAIN_TIMEOUT_S", 0.1)
    world = World()
    setup = Setup(world, rotate_after=1)
    answered = asyncio.Event()

    async def slow(method: str, messages: Sequence[Message]) -> None:
        if method == "prepare" and messages[0].attempt.order_id == order_id(1):
            await answered.wait()

    world.payment.on_arrival = slow
    world.queue.put(queued_order(1))
    async with setup.running():
        await eventually(lambda: world.payment.calls == 1, "the slow order is under way")
        world.queue.put(*(queued_order(number) for number in range(2, 12)))
        await eventually(lambda: len(world.queue.results) == 10, "the others end")
        assert setup.node.transfers == 0
        answered.set()
        await eventually(lambda: setup.node.transfers == 1, "leadership is handed on when it has ended")
        assert world.queue.results[order_id(1)].epoch == 1
        prepared = [message.attempt for message in world.payment.heard if message.attempt.order_id == order_id(1)]
        assert {attempt.number for attempt in prepared} == {1}
    await setup.all_end()


async def test_a_leader_that_stops_ends_what_is_in_hand_and_takes_nothing_more() -> None:
    world = World()
    setup = Setup(world)
    votes = asyncio.Event()

    async def slow(method: str, _messages: Sequence[Message]) -> None:
        await votes.wait()

    world.payment.on_arrival = slow
    world.queue.put(queued_order(1))
    async with setup.running():
        await eventually(lambda: world.payment.calls == 1, "an order is under way")
        retiring = asyncio.create_task(setup.executor.retire())
        await asyncio.sleep(0.05)
        world.queue.put(queued_order(2))
        assert setup.node.transfers == 0
        votes.set()
        await eventually(lambda: setup.node.transfers == 1, "it hands over")
        assert world.queue.results.keys() == {order_id(1)}
        setup.node.become(term=2, ready=False)
        await retiring
        # Chosen again, though it stops.
        setup.node.become(term=3, ready=True)
        await asyncio.sleep(0.05)
        assert world.queue.handed_out == [order_id(1)]


async def test_a_leader_that_stops_leaves_a_slow_order_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "DRAIN_TIMEOUT_S", 0.1)
    world = World()
    setup = Setup(world)
    world.payment.on_arrival = hang
    world.queue.put(queued_order(1))
    async with setup.running():
        await eventually(lambda: world.payment.calls == 1, "an order is under way")
        setup.node.transfer_fails.set()
        await asyncio.wait_for(setup.executor.retire(), 10)
        assert setup.node.transfers == 1
        assert world.queue.results == {}


async def test_a_node_that_does_not_lead_stops_at_once() -> None:
    setup = Setup(World())
    setup.node.become(term=1, ready=False)
    async with setup.running():
        await asyncio.wait_for(setup.executor.retire(), 1)
