"""Answers that do not fit what was asked are errors, never taken for another order's."""

from collections.abc import Sequence

import pytest

from order_executor.clients import ParticipantClient
from tests.integration.order_executor.neighbours import neighbours
from tests.unit.order_executor.world import World, order_id, queued_order
from utils.rpc.channel import Channel
from utils.rpc.errors import Internal
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Transaction, Vote, VoteKind


def transactions() -> list[Transaction]:
    orders = [queued_order(number) for number in (1, 2)]
    return [
        Transaction(Attempt(order.order_id, 1, 1), position, order.items, order.amount_cents, order.instrument)
        for position, order in enumerate(orders, 1)
    ]


async def test_votes_and_acknowledgements_come_back_as_they_were_given() -> None:
    world = World(declined=[2])
    async with neighbours(world) as served:
        channel = Channel(f"127.0.0.1:{served.ports['payment']}")
        client = ParticipantClient(channel)
        votes = await client.prepare(transactions(), 0)
        assert [vote.kind for vote in votes] == [VoteKind.COMMIT, VoteKind.ABORT]
        assert [reason.code for reason in votes[1].reasons] == ["payment_declined"]
        decided = await client.decide([Decision(Attempt(order_id(1), 1, 1), True), Decision(votes[1].attempt, True)])
        assert [(one.done, one.confirmation_code) for one in decided] == [(True, "CODE-0001"), (False, "")]
        await channel.close()


@pytest.mark.parametrize("wrong", ["turned", "short", "doubled"])
async def test_a_participant_that_answers_out_of_order_is_not_believed(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    prepare, decide = world.database.prepare, world.database.decide

    def spoil(answers: list[Vote] | list[Acknowledgement]) -> list[Vote] | list[Acknowledgement]:
        return {"turned": answers[::-1], "short": answers[:1], "doubled": [answers[0], answers[0]]}[wrong]  # type: ignore[return-value]

    async def spoiled_prepare(asked: Sequence[Transaction], finished_below: int) -> list[Vote] | list[Acknowledgement]:
        return spoil(await prepare(asked, finished_below))

    async def spoiled_decide(asked: Sequence[Decision]) -> list[Vote] | list[Acknowledgement]:
        return spoil(await decide(asked))

    monkeypatch.setattr(world.database, "prepare", spoiled_prepare)
    monkeypatch.setattr(world.database, "decide", spoiled_decide)
    async with neighbours(world) as served:
        channel = Channel(f"127.0.0.1:{served.ports['database']}")
        client = ParticipantClient(channel)
        with pytest.raises(Internal):
            await client.prepare(transactions(), 0)
        with pytest.raises(Internal):
            await client.decide([Decision(one.attempt, commit=True) for one in transactions()])
        await channel.close()
