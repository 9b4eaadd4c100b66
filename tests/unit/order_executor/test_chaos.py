"""Everything at once, from a seed: messages lost, doubled, late; leaders that change; proposals of unknown outcome."""

import asyncio
import random
from collections.abc import Mapping, Sequence

import pytest

from order_executor.consensus_election import ConsensusElection
from order_executor.executor import Executor
from order_executor.ports import OrderResult
from tests.support.shiviz import parse
from tests.unit.order_executor.setup import Fate, MemoryNode
from tests.unit.order_executor.world import Message, ParticipantDouble, World, eventually, queued_order
from utils.clocks.shiviz import shiviz_log
from utils.clocks.story import unpack
from utils.two_phase_commit.decision_log import DecisionLog
from utils.two_phase_commit.messages import Decision, Transaction

ORDERS = 60
FATES: list[Fate] = ["refused", "lost", "unknown", "late"]
TERMS = 6


class Troublemaker:
    """Loses a third of the calls to a participant, before or after they act, and replays what it has heard before."""

    def __init__(self, chance: random.Random, participant: ParticipantDouble) -> None:
        self._chance = chance
        self._participant = participant
        self._heard: list[Message] = []
        self.replayed = 0
        participant.on_arrival = self._arrival
        participant.on_answer = self._answer

    async def _arrival(self, _method: str, messages: Sequence[Message]) -> None:
        self._heard += messages
        self._participant.is_away = self._chance.random() < 0.15
        await asyncio.sleep(self._chance.random() * 0.02)

    async def _answer(self, _method: str, _messages: Sequence[Message]) -> None:
        self._participant.is_away = self._chance.random() < 0.15
        for message in self._chance.sample(self._heard, min(3, len(self._heard))):
            self.replayed += 1
            if isinstance(message, Decision):
                self._participant.core.decide(message)
            else:
                self._participant.core.prepare(message.attempt, message.position, message, message.clock)


def end_doubts(executor: Executor, participant: ParticipantDouble) -> None:
    """What a participant does with what stays prepared by a late message: it asks, and acts on the answer."""
    for attempt in participant.core.in_doubt:
        resolution = executor.resolve(attempt)
        if resolution.kind != "undecided":
            participant.core.decide(Decision(attempt, resolution.kind == "committed", clock=resolution.clock))


def assert_stories_hold(results: Mapping[str, OrderResult]) -> None:
    """For each order, the clocks prove that the votes came before the decision, and the decision before its end."""
    assert len(results) == ORDERS
    for result in results.values():
        story = [unpack(event) for event in result.story]
        parse(shiviz_log(story, lambda event: event.name))
        [decided] = [event for event in story if event.name.endswith("decided")]
        attempt = [event for event in story if (event.epoch, event.number) == (decided.epoch, decided.number)]
        ends = [event for event in attempt if event.name in ("committed", "aborted")]
        assert all(decided.clock.happened_before(event.clock) for event in ends)
        # A rejection does not need everybody's vote.
        votes = [
            event for event in attempt if event.name == "declined" or (result.approved and event.name == "prepared")
        ]
        assert all(event.clock.happened_before(decided.clock) for event in votes)
        assert not result.approved or (len(votes), len(ends)) == (2, 2)


@pytest.mark.parametrize("seed", range(8))
async def test_all_end_on_the_same_decision_whatever_is_lost_doubled_or_late(seed: int) -> None:
    chance = random.Random(seed)
    world = World({"Book A": 25, "Book B": 1_000}, declined=chance.sample(range(ORDERS), 6))
    decisions = DecisionLog()
    node = MemoryNode(decisions)
    node.fates.extend(chance.choices(FATES, k=40))
    executor = Executor(
        election=ConsensusElection(node, decisions),
        queue=world.queue,
        participants={"database": world.database, "payment": world.payment},
        in_flight_max=16,
    )
    trouble = [Troublemaker(chance, world.database), Troublemaker(chance, world.payment)]
    world.queue.put(*(queued_order(number, title=chance.choice(["Book A", "Book B"])) for number in range(ORDERS)))

    def half_prepared() -> bool:
        return any(
            attempt.order_id not in world.payment.core.records and decisions.decision(attempt.order_id) is None
            for attempt in world.database.core.in_doubt
        )

    task = asyncio.create_task(executor.run())
    unfinished = 0
    try:
        for term in range(2, TERMS + 1):
            # In turn: a decision is under way, or an order that only one participant has voted on.
            moment = (lambda: bool(decisions.unfinished())) if term % 2 else half_prepared
            await eventually(lambda moment=moment: moment() or world.queue.is_done, "something is under way")  # type: ignore[misc]
            node.become(term=term, ready=False)
            await eventually(lambda: executor.orders_in_flight == 0, "the deposed leader lets go")
            unfinished += len(decisions.unfinished())
            node.become(term=term, ready=True)
        await eventually(lambda: world.queue.is_done and not decisions.unfinished(), "all orders end")
        end_doubts(executor, world.database)
        end_doubts(executor, world.payment)
        world.assert_books_agree()
        assert_stories_hold(world.queue.results)
    finally:
        task.cancel()
        await asyncio.wait((task,))
    assert task.cancelled()
    # A run without trouble proves nothing.
    assert sum(one.replayed for one in trouble) > ORDERS / 4
    attempts = {message.attempt for message in world.database.heard if isinstance(message, Transaction)}
    assert len(attempts) > ORDERS
    assert unfinished > 0
