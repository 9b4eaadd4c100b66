"""What a new leader takes up, what a deposed one leaves alone, and what participants in doubt are told."""

import asyncio
from collections.abc import Sequence

import pytest

from order_executor.executor import EpochReturnedError
from tests.unit.order_executor.setup import Setup
from tests.unit.order_executor.world import Message, World, eventually, order_id, queued_order
from utils.domain.order import Reason
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import RecordDecision, encode
from utils.two_phase_commit.messages import Attempt, Decision, ResolutionKind, Transaction


async def test_a_new_leader_ends_what_was_decided_while_other_orders_go_on() -> None:
    world = World()
    setup = Setup(world, term=7)
    old = [queued_order(number) for number in range(3)]
    world.queue.put(*old)
    # An earlier leader prepared two orders and rejected a third, and died with its decisions in the log.
    for number in (0, 1):
        attempt = Attempt(order_id(number), 6, 2)
        transaction = Transaction(attempt, number, old[number].items, old[number].amount_cents, old[number].instrument)
        world.database.core.prepare(attempt, number, transaction)
        world.payment.core.prepare(attempt, number, transaction)
    commit = OrderDecision(Attempt(order_id(0), 6, 2), 0, commit=True)
    no = Reason("out_of_stock", "Sold out.")
    reject = OrderDecision(Attempt(order_id(1), 6, 2), 1, commit=False, reasons=(no,))
    # Nobody has prepared this one: an alarm that goes on for as long as it is so.
    broken = OrderDecision(Attempt(order_id(2), 6, 1), 2, commit=True)
    setup.decisions.apply(1, encode([RecordDecision(decision) for decision in (commit, reject, broken)]))
    world.queue.put(queued_order(3), queued_order(4))
    async with setup.running():
        await eventually(lambda: len(world.queue.results) == 4, "all but the broken one end")
        assert world.queue.polls[0] == {order_id(0), order_id(1), order_id(2)}
        assert world.queue.results[order_id(0)].approved
        assert world.queue.results[order_id(0)].confirmation_code == "CODE-0000"
        assert world.queue.results[order_id(1)].reasons == (no,)
        assert order_id(2) not in world.queue.results
        await eventually(lambda: setup.decisions.unfinished() == [broken], "what ended is recorded as finished")


async def test_a_decided_order_that_is_handed_out_again_ends_as_it_was_decided() -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)
    async with setup.running():
        await setup.all_end()
        first = world.queue.results.pop(order_id(1))  # a queue that has lost the result
        world.queue.put(queued_order(2))
        await setup.all_end()
    assert world.queue.results[order_id(1)] == first


async def test_a_deposed_leader_falls_silent_and_the_next_term_fences_it() -> None:
    """What it had under way arrives after its successor has begun: it changes nothing."""
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)
    late: list[Transaction] = []

    async def delay(method: str, messages: Sequence[Message]) -> None:
        if method == "prepare":
            late.extend(message for message in messages if isinstance(message, Transaction))
            await asyncio.Event().wait()

    world.payment.on_arrival = delay
    async with setup.running():
        await eventually(lambda: len(late) == 1, "the first leader's Prepare is under way")
        await eventually(lambda: len(world.database.core.in_doubt) == 1, "and the database has voted")
        setup.node.become(term=2, ready=False)
        await eventually(lambda: setup.executor.orders_in_flight == 0, "it lets go of everything")
        heard = len(world.database.heard)
        await asyncio.sleep(0.2)
        assert len(world.database.heard) == heard
        world.payment.on_arrival = None
        setup.node.become(term=2, ready=True)
        await setup.all_end()
    decision = setup.decisions.decision(order_id(1))
    assert decision is not None
    assert decision.attempt == Attempt(order_id(1), 2, 1)
    assert late[0].attempt == Attempt(order_id(1), 1, 1)
    world.payment.core.prepare(late[0].attempt, late[0].position, late[0])
    world.database.core.decide(Decision(late[0].attempt, commit=False))
    world.assert_books_agree()


async def test_only_a_leader_that_is_ready_works() -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)
    setup.node.ready = False
    async with setup.running():
        await asyncio.sleep(0.1)
        assert (world.queue.polls, world.database.calls) == ([], 0)
        setup.node.become(term=1, ready=True)
        await setup.all_end()


async def test_an_epoch_that_ended_is_not_led_again() -> None:
    """Its attempts are forgotten: their numbers must not be given twice."""
    setup = Setup(World(), term=4)
    task = asyncio.create_task(setup.executor.run())
    await eventually(lambda: len(setup.world.queue.polls) > 0, "it leads")
    setup.node.become(term=4, ready=False)
    polls = len(setup.world.queue.polls)
    await asyncio.sleep(0.05)
    setup.node.become(term=4, ready=True)
    with pytest.raises(EpochReturnedError):
        await asyncio.wait_for(task, 10)
    assert len(setup.world.queue.polls) == polls


async def test_participants_in_doubt_are_answered_by_what_this_leader_did() -> None:
    world = World()
    world.payment.is_away = True
    world.queue.put(queued_order(1))
    setup = Setup(world, term=3)
    async with setup.running():
        await eventually(
            lambda: any(
                isinstance(message, Decision) and message.attempt.number == 2 for message in world.database.heard
            ),
            "two attempts are given up",
        )
        first = Attempt(order_id(1), 3, 1)
        assert setup.executor.resolve(first).kind is ResolutionKind.ABORTED
        assert setup.executor.resolve(Attempt(order_id(1), 3, 99)).kind is ResolutionKind.UNDECIDED
        assert setup.executor.resolve(Attempt(order_id(1), 2, 1)).kind is ResolutionKind.ABORTED
        assert setup.executor.resolve(Attempt(order_id(1), 4, 1)).kind is ResolutionKind.UNDECIDED
        world.payment.is_away = False
        await setup.all_end()
        decision = setup.decisions.decision(order_id(1))
        assert decision is not None
        assert setup.executor.resolve(decision.attempt).kind is ResolutionKind.COMMITTED
        assert setup.executor.resolve(first).kind is ResolutionKind.ABORTED


async def test_a_defect_ends_the_executor_instead_of_hiding() -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)

    async def fail(_method: str, _messages: Sequence[Message]) -> None:
        raise ZeroDivisionError

    world.payment.on_arrival = fail
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(10):
            await setup.executor.run()
