"""An operator's refund is carried out once and to its end, whoever is away, dies or is deposed on the way."""

import asyncio

import pytest
import structlog

from order_executor.refunds import REFUNDS_MAX
from tests.unit.order_executor.setup import Setup
from tests.unit.order_executor.world import ParticipantDouble, QueueDouble, World, eventually, order_id, queued_order
from utils.rpc.errors import Unavailable


def world_with_approved(*numbers: int) -> World:
    world = World()
    world.queue.put(*(queued_order(number) for number in numbers))
    return world


async def all_refunded(world: World) -> None:
    await eventually(lambda: None not in world.queue.refunds.values(), "all refunds end")
    world.assert_books_agree()


async def test_payment_refunds_and_the_copies_are_back_unless_they_are_lost() -> None:
    world = world_with_approved(1, 2, 3)
    setup = Setup(world)
    async with setup.running():
        await setup.all_end()
        world.queue.request_refund(order_id(1))
        world.queue.request_refund(order_id(2), restock=False)
        await all_refunded(world)
    assert world.till.refunded == {order_id(1), order_id(2)}
    assert world.shelf.restocked == {order_id(1)}


@pytest.mark.parametrize("place", ["before payment", "after payment", "before database", "after database", "queue"])
async def test_the_next_leader_ends_what_a_dead_one_began(place: str) -> None:
    world = world_with_approved(1)
    setup = Setup(world)
    there = asyncio.Event()

    async def die(order: str) -> None:
        if not there.is_set():
            there.set()
            # It never comes back from here: its tasks are cancelled.
            await asyncio.Event().wait()

    moment, _, name = place.partition(" ")
    if place == "queue":
        world.queue.on_complete_refund = die
    else:
        participant = world.payment if name == "payment" else world.database
        setattr(participant, "on_compensation" if moment == "before" else "on_compensated", die)
    async with setup.running():
        await setup.all_end()
        world.queue.request_refund(order_id(1))
        await asyncio.wait_for(there.wait(), 20)
        assert world.queue.refunds == {order_id(1): None}
        setup.node.become(term=2, ready=False)
        setup.node.become(term=3, ready=True)
        await all_refunded(world)


@pytest.mark.parametrize("away", ["payment", "database", "queue"])
async def test_a_refund_waits_for_who_is_away(away: str) -> None:
    world = world_with_approved(1)
    setup = Setup(world)
    parts: dict[str, ParticipantDouble | QueueDouble] = {
        "payment": world.payment,
        "database": world.database,
        "queue": world.queue,
    }
    absent = parts[away]
    asked = asyncio.Event()

    async def leave(order: str) -> None:
        absent.is_away = True
        asked.set()

    world.payment.on_compensation = leave
    async with setup.running():
        await setup.all_end()
        world.queue.request_refund(order_id(1))
        await asyncio.wait_for(asked.wait(), 20)
        world.payment.on_compensation = None
        # Longer than a refund takes when all are there.
        await asyncio.sleep(0.1)
        assert world.queue.refunds == {order_id(1): None}
        absent.is_away = False
        await all_refunded(world)


async def test_an_answer_that_is_lost_makes_nothing_happen_twice() -> None:
    world = world_with_approved(1)
    setup = Setup(world)
    lost: list[str] = []

    async def lose_first(order: str) -> None:
        if len(lost) < 2:
            lost.append(order)
            raise Unavailable("the answer is lost")

    world.payment.on_compensated = world.database.on_compensated = lose_first
    async with setup.running():
        await setup.all_end()
        world.queue.request_refund(order_id(1))
        await all_refunded(world)
    assert len(lost) == 2


async def test_a_deposed_leader_that_goes_on_does_no_harm() -> None:
    world = world_with_approved(1)
    first = Setup(world)
    second = Setup(world, decisions=first.decisions, term=2)
    arrived: list[str] = []
    both = asyncio.Event()

    async def together(order: str) -> None:
        arrived.append(order)
        if len(arrived) == 2:
            both.set()
        await both.wait()

    async with first.running():
        await first.all_end()
        world.payment.on_compensation = together
        world.queue.request_refund(order_id(1))
        await eventually(lambda: len(arrived) == 1, "the first asks")
        async with second.running():
            await all_refunded(world)
    assert len(arrived) == 2


async def test_what_was_never_captured_is_an_alarm_and_nothing_returns_to_the_shelf() -> None:
    world = world_with_approved(1, 2)
    setup = Setup(world)
    async with setup.running():
        await setup.all_end()
        # Payment came back with a loss.
        del world.till.captured[order_id(1)]
        with structlog.testing.capture_logs() as logs:
            world.queue.request_refund(order_id(1))
            world.queue.request_refund(order_id(2))
            await eventually(lambda: world.queue.refunds[order_id(2)] is not None, "the other refund ends")
            await eventually(lambda: any(entry["log_level"] == "error" for entry in logs), "somebody is told")
    assert world.queue.refunds[order_id(1)] is None
    assert world.till.refunded == world.shelf.restocked == {order_id(2)}


async def test_refunds_in_hand_are_bounded_and_all_end() -> None:
    numbers = range(1, 3 * REFUNDS_MAX)
    world = world_with_approved(*numbers)
    setup = Setup(world)
    at_once, most = 0, 0
    gate = asyncio.Event()

    async def enter(order: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()

    async def leave(order: str) -> None:
        nonlocal at_once
        at_once -= 1

    world.payment.on_compensation, world.payment.on_compensated = enter, leave
    async with setup.running():
        await setup.all_end()
        for number in numbers:
            world.queue.request_refund(order_id(number))
        await eventually(lambda: at_once == REFUNDS_MAX, "as many as may be are in hand")
        gate.set()
        await all_refunded(world)
    assert most == REFUNDS_MAX
