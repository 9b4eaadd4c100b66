"""An executor between its neighbours: many orders at once, and every way in which a neighbour can be in the way."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from order_executor import publishing
from tests.unit.order_executor.setup import Setup
from tests.unit.order_executor.world import Message, World, eventually, order_id, queued_order
from utils.domain.order import Reason
from utils.two_phase_commit.messages import Decision, Transaction
from utils.two_phase_commit.participant import Phase


async def test_every_order_ends_and_the_books_agree() -> None:
    world = World({"Book A": 30, "Book B": 1_000}, declined=[5, 25])
    world.queue.put(*(queued_order(number, title="Book A" if number < 40 else "Book B") for number in range(100)))
    setup = Setup(world)
    async with setup.running():
        await setup.all_end()
    approved = [number for number in range(100) if world.queue.results[order_id(number)].approved]
    assert len([number for number in approved if number < 40]) == 30  # all copies are sold, though some held them first
    assert len([number for number in approved if number >= 40]) == 60
    declined = Reason("payment_declined", "The card was declined.")
    assert all(declined in world.queue.results[order_id(number)].reasons for number in (5, 25))


async def test_orders_share_calls_and_proposals() -> None:
    world = World()
    world.queue.put(*(queued_order(number) for number in range(64)))
    setup = Setup(world)
    async with setup.running():
        await setup.all_end()
    # One Prepare and one Commit for each order would be 128 calls of each, and 128 proposals.
    assert world.database.calls < 32
    assert world.payment.calls < 32
    assert len(setup.node.proposals) < 32


async def test_undecided_orders_are_bounded_and_held_ones_are_named() -> None:
    world = World()
    world.payment.is_away = True
    world.queue.put(*(queued_order(number) for number in range(50)))
    setup = Setup(world, in_flight_max=8)
    async with setup.running():
        await eventually(lambda: len(world.queue.handed_out) == 8, "as many as it may hold")
        await asyncio.sleep(0.1)
        assert len(world.queue.handed_out) == 8
        world.payment.is_away = False
        await setup.all_end()
    assert len(world.queue.handed_out) == len(set(world.queue.handed_out)) == 50


async def test_an_order_in_hand_that_comes_again_is_not_taken_twice() -> None:
    world = World()
    world.payment.is_away = True
    world.queue.put(queued_order(1))
    world.queue.forgets_claims = True
    setup = Setup(world)
    async with setup.running():
        await eventually(lambda: world.queue.handed_out.count(order_id(1)) > 3, "it is handed out again and again")
        assert setup.executor.orders_in_flight == 1
        prepared = [message.attempt for message in world.database.heard if isinstance(message, Transaction)]
        assert len(prepared) == len(set(prepared))
        world.payment.is_away = False
        await setup.all_end()


async def test_larger_orders_go_first() -> None:
    world = World()
    world.queue.put(queued_order(1, 1), queued_order(2, 5), queued_order(3, 5), queued_order(4, 9))
    setup = Setup(world, in_flight_max=1)
    async with setup.running():
        await setup.all_end()
    assert world.queue.handed_out == [order_id(number) for number in (4, 2, 3, 1)]


@pytest.mark.parametrize("fate", ["unknown", "lost", "refused"])
async def test_a_proposal_of_unknown_outcome_is_repeated_and_decided_once(fate: str) -> None:
    world = World({"Book A": 1})
    world.queue.put(queued_order(1), queued_order(2))
    setup = Setup(world)
    setup.node.fates.extend([fate] * 3)  # type: ignore[list-item]
    async with setup.running():
        await setup.all_end()
    assert sorted(result.approved for result in world.queue.results.values()) == [False, True]
    winner = next(order_id for order_id, result in world.queue.results.items() if result.approved)
    prepared = [
        message
        for message in world.database.heard
        if isinstance(message, Transaction) and message.attempt.order_id == winner
    ]
    assert len(prepared) == 1  # nothing but the proposal is repeated


async def test_nobody_hears_a_decision_that_the_log_does_not_have() -> None:
    world = World()
    setup = Setup(world)

    async def check(method: str, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, Decision) and message.commit:
                recorded = setup.decisions.decision(message.attempt.order_id)
                assert recorded is not None
                assert (recorded.commit, recorded.attempt) == (True, message.attempt)

    world.database.on_arrival = world.payment.on_arrival = check
    setup.node.fates.extend(["lost", "refused", "unknown", "lost"])
    world.queue.put(*(queued_order(number) for number in range(20)))
    async with setup.running():
        await setup.all_end()


async def test_a_participant_that_is_away_delays_and_never_rejects() -> None:
    world = World()
    world.payment.is_away = True
    world.queue.put(queued_order(1))
    setup = Setup(world)
    async with setup.running():
        await eventually(lambda: world.payment.calls > 5, "payment was tried again and again")
        assert world.queue.results == {}
        await eventually(lambda: world.database.core.in_doubt == (), "a given-up attempt gives its copies back")
        world.payment.is_away = False
        await setup.all_end()
    assert world.queue.results[order_id(1)].approved


async def test_a_decision_reaches_a_participant_that_comes_back() -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)

    async def die_prepared(method: str, _messages: Sequence[Message]) -> None:
        if method == "decide":
            world.payment.is_away = True

    world.payment.on_arrival = die_prepared
    async with setup.running():
        await eventually(lambda: world.database.phases().get(order_id(1)) is Phase.COMMITTED, "one has committed")
        await eventually(lambda: world.payment.calls > 4, "the other is told again and again")
        assert world.queue.results == {}
        world.payment.on_arrival = None
        world.payment.is_away = False
        await setup.all_end()


async def test_a_repeated_commit_whose_acknowledgement_was_lost_captures_once() -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)
    lost = 0

    async def lose_answers(method: str, _messages: Sequence[Message]) -> None:
        nonlocal lost
        lost += method == "decide"
        world.payment.is_away = method == "decide" and lost < 4

    world.payment.on_answer = lose_answers

    async def back(_method: str, _messages: Sequence[Message]) -> None:
        world.payment.is_away = False

    world.payment.on_arrival = back
    async with setup.running():
        await setup.all_end()
    assert lost == 4  # and Till.commit asserts that it captures once


async def test_orders_wait_for_nobody_else() -> None:
    """One order's call never comes back, and one order cannot be understood: the others end."""
    world = World()
    setup = Setup(world)
    stuck, poisoned = order_id(1), order_id(2)

    async def hang(method: str, messages: Sequence[Message]) -> None:
        if messages[0].attempt.order_id == stuck:
            await asyncio.Event().wait()

    world.database.on_arrival = hang
    world.payment.poison = frozenset({poisoned})
    world.queue.put(queued_order(1))
    async with setup.running():
        await eventually(lambda: world.database.calls == 1, "the stuck call is under way")
        world.queue.put(*(queued_order(number) for number in range(2, 60)))
        others = {order_id(number) for number in range(3, 60)}
        await eventually(lambda: world.queue.results.keys() == others, "all but the two end")
        world.payment.poison = frozenset()
        await eventually(lambda: poisoned in world.queue.results, "what is understood later ends later")
        assert stuck not in world.queue.results


async def test_a_queue_that_is_away_is_told_when_it_is_back() -> None:
    world = World()
    world.queue.put(*(queued_order(number) for number in range(5)))
    setup = Setup(world)

    async def go_away(_results: object) -> None:
        world.queue.is_away = True

    world.queue.on_complete = go_away
    async with setup.running():
        await eventually(lambda: len(world.till.captured) == 5, "all are captured")
        assert world.queue.results == {}
        assert len(setup.decisions.unfinished()) == 5
        world.queue.on_complete = None
        world.queue.is_away = False
        await setup.all_end()


async def test_the_last_copy_goes_to_whoever_can_pay() -> None:
    """While its fate is open others are told to try again, and nobody is rejected for it."""
    world = World({"Book A": 1}, declined=[1])
    setup = Setup(world)
    declining = asyncio.Event()

    async def hold(_method: str, _messages: Sequence[Message]) -> None:
        await declining.wait()

    world.payment.on_arrival = hold
    world.queue.put(queued_order(1))
    async with setup.running():
        await eventually(lambda: world.shelf.reserved.keys() == {order_id(1)}, "the last copy is reserved")
        world.payment.on_arrival = None
        world.queue.put(queued_order(2))
        await eventually(
            lambda: any(
                message.attempt.order_id == order_id(2) and message.attempt.number > 2
                for message in world.database.heard
            ),
            "the competitor tries again and again",
        )
        assert world.shelf.reserved.keys() == {order_id(1)}
        assert world.queue.results == {}
        declining.set()
        await setup.all_end()
    assert [reason.code for reason in world.queue.results[order_id(1)].reasons] == ["payment_declined"]
    assert world.queue.results[order_id(2)].approved


async def test_what_is_finished_is_forgotten_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PUBLISH_POSITIONS", 10)
    world = World({"Book A": 30, "Book B": 1_000}, declined=[5, 25])
    world.queue.put(*(queued_order(number, title="Book A" if number < 40 else "Book B") for number in range(100)))
    setup = Setup(world)
    async with setup.running():
        await setup.all_end()
        # Participants hear of it with the next order.
        await eventually(lambda: setup.decisions.finished_below > 90, "what is finished is published")
        world.queue.put(queued_order(100, title="Book B"))
        await setup.all_end()
    assert setup.decisions.finished_count == 101
    assert len(world.database.core.records) < 12
    assert len(world.payment.core.records) < 12
    assert setup.decisions.decision(order_id(50)) is None


async def test_a_deposed_leader_that_asks_about_a_finished_order_raises_no_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world)
    deposed = asyncio.Event()

    async def finished_by_others(method: str, messages: Sequence[Message]) -> None:
        """While our Prepare is on its way, the next leader ends the order, and publishes that."""
        if method == "prepare":
            world.database.core.finish_below(5)
            world.payment.core.finish_below(5)
            setup.node.become(term=2, ready=False)
            deposed.set()

    world.database.on_arrival = finished_by_others
    with structlog.testing.capture_logs() as logs:
        async with setup.running():
            async with asyncio.timeout(20):
                await deposed.wait()
            await eventually(lambda: setup.executor.orders_in_flight == 0, "the epoch has ended")
    assert not [entry for entry in logs if "alarm" in entry["event"]]
