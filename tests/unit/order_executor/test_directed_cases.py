"""Cases that chance meets rarely, each told step by step.

More of them: a participant that is down for longer than three tries (test_leadership), rotation with one slow order
(test_rotation), a stale primary that is asked for a vote (tests/integration/db_node/test_replication), Bully's raise
and split (tests/integration/order_executor/test_bully_election).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from order_executor import leadership
from order_executor.servicer import CoordinatorServicer
from tests.unit.order_executor.setup import Setup
from tests.unit.order_executor.world import Message, ParticipantDouble, World, eventually, order_id, queued_order
from utils.pb import two_phase_commit_pb2 as pb
from utils.rpc.errors import NotLeader
from utils.two_phase_commit.convert import attempt_to_proto, resolution_from_proto
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Compensation,
    Decision,
    ResolutionKind,
    Transaction,
    Vote,
    VoteKind,
)

_Answer = TypeVar("_Answer")

ORDER = order_id(1)


class Lingering:
    """A participant as seen by a worker whose messages travel on when nobody waits for their answers any more.

    While `way` is clear they are under way.
    """

    def __init__(self, double: ParticipantDouble) -> None:
        self._double = double
        self.way = asyncio.Event()
        self.under_way: set[asyncio.Task[Any]] = set()

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> list[Vote]:
        return await asyncio.shield(self._send(self._prepare(transactions, finished_below)))

    async def decide(self, decisions: Sequence[Decision]) -> list[Acknowledgement]:
        return await asyncio.shield(self._send(self._decide(decisions)))

    async def compensate(self, compensation: Compensation) -> Compensated:
        return await asyncio.shield(self._send(self._double.compensate(compensation)))

    def _send(self, call: Coroutine[None, None, _Answer]) -> asyncio.Task[_Answer]:
        task = asyncio.create_task(call)
        self.under_way.add(task)
        return task

    async def _prepare(self, transactions: Sequence[Transaction], finished_below: int) -> list[Vote]:
        await self.way.wait()
        return await self._double.prepare(transactions, finished_below)

    async def _decide(self, decisions: Sequence[Decision]) -> list[Acknowledgement]:
        await self.way.wait()
        return await self._double.decide(decisions)


@contextlib.asynccontextmanager
async def two_executors(world: World) -> AsyncIterator[tuple[Setup, Setup]]:
    """Of one log; the first leads term 1."""
    first = Setup(world)
    second = Setup(world, decisions=first.decisions)
    second.node.become(term=1, ready=False)
    async with first.running(), second.running():
        yield first, second


def hand_leadership(old: Setup, new: Setup, term: int) -> None:
    old.node.become(term=term, ready=False)
    new.node.become(term=term, ready=True)


async def ask(setup: Setup, attempt: Attempt) -> ResolutionKind:
    """As a participant in doubt does, of one node and no other. Raises NotLeader."""
    servicer = CoordinatorServicer(setup.executor._election, setup.executor)
    response = await servicer.Resolve(pb.ResolveRequest(attempts=[attempt_to_proto(attempt)]), None)
    return resolution_from_proto(response.resolutions[0]).kind


@pytest.mark.parametrize("declined", [[], [1]], ids=["COMMIT", "REJECT"])
async def test_a_decision_whose_answer_is_withheld_beyond_the_time_out_and_then_commits(declined: list[int]) -> None:
    world = World(declined=declined)
    setup = Setup(world)
    setup.node.fates.extend(["late"] * 3)
    # Nothing else is proposed while the three are open.
    world.queue.put(queued_order(1))
    async with setup.running():
        await eventually(lambda: len(setup.node.proposals) == 3, "the proposal is repeated")
        assert len(set(setup.node.proposals)) == 1
        # Nobody has heard of a decision, and whoever asks is told to wait.
        assert not [message for message in world.database.heard if isinstance(message, Decision)]
        assert await ask(setup, Attempt(ORDER, 1, 1)) is ResolutionKind.UNDECIDED
        setup.node.commit_late()
        await setup.all_end()
    assert world.queue.results[ORDER].approved is not bool(declined)
    decision = setup.decisions.decision(ORDER)
    assert decision is not None
    assert decision.attempt == Attempt(ORDER, 1, 1)
    # Nothing but the proposal was repeated.
    assert sum(isinstance(message, Transaction) for message in world.database.heard) == 1


async def test_leadership_goes_to_b_and_back_to_a_while_a_worker_of_the_first_a_still_lives() -> None:
    world = World()
    world.queue.put(queued_order(1))
    async with two_executors(world) as (a, b):
        slow = Lingering(world.payment)
        a.executor._participants = {"database": world.database, "payment": slow}
        hand_leadership(b, a, 2)
        await eventually(lambda: world.database.core.in_doubt == (Attempt(ORDER, 2, 1),), "the database has voted")
        await eventually(lambda: len(slow.under_way) == 1, "a Prepare to payment is under way")

        # B decides, and dies before it tells anybody.
        async def hang(method: str, _messages: Sequence[Message]) -> None:
            if method == "decide":
                await asyncio.Event().wait()

        world.database.on_arrival = world.payment.on_arrival = hang
        hand_leadership(a, b, 3)
        await eventually(lambda: a.decisions.unfinished() != [], "B has decided")
        a.executor._participants = {"database": world.database, "payment": world.payment}
        hand_leadership(b, a, 4)
        world.database.on_arrival = world.payment.on_arrival = None
        await eventually(lambda: world.payment.core.in_doubt == () and world.queue.is_done, "A ends what B decided")
        # Now the worker of A's first epoch gets through.
        slow.way.set()
        (answer,) = await asyncio.gather(*slow.under_way)
        assert [vote.kind for vote in answer] == [VoteKind.ALREADY_COMMITTED]
        await a.all_end()
    decision = a.decisions.decision(ORDER)
    assert decision is not None
    assert decision.attempt == Attempt(ORDER, 3, 1)


async def test_a_participant_in_doubt_is_answered_by_the_leader_alone_and_never_too_early() -> None:
    world = World()
    world.queue.put(queued_order(1))
    votes = asyncio.Event()

    async def hold(method: str, _messages: Sequence[Message]) -> None:
        if method == "prepare":
            await votes.wait()

    world.payment.on_arrival = hold
    async with two_executors(world) as (a, b):
        first, second = Attempt(ORDER, 1, 1), Attempt(ORDER, 2, 1)
        await eventually(lambda: world.database.core.in_doubt == (first,), "it has voted, and hears nothing")
        # Between its vote and COMMIT; then a follower.
        assert await ask(a, first) is ResolutionKind.UNDECIDED
        with pytest.raises(NotLeader):
            await ask(b, first)
        hand_leadership(a, b, 2)
        # The deposed leader; then the new one, about the old epoch, its own, and one that it has not heard of.
        with pytest.raises(NotLeader):
            await ask(a, first)
        assert await ask(b, first) is ResolutionKind.ABORTED
        await eventually(lambda: world.database.core.in_doubt == (second,), "it has voted for the new leader")
        assert await ask(b, second) is ResolutionKind.UNDECIDED
        assert await ask(b, Attempt(ORDER, 3, 1)) is ResolutionKind.UNDECIDED
        votes.set()
        await b.all_end()
        assert await ask(b, second) is ResolutionKind.COMMITTED
        assert await ask(b, first) is ResolutionKind.ABORTED


async def test_a_rejection_survives_an_election_while_its_abort_is_lost() -> None:
    world = World(declined=[1])
    world.queue.put(queued_order(1))

    async def lose_aborts(method: str, _messages: Sequence[Message]) -> None:
        world.database.is_away = method == "decide"

    world.database.on_arrival = lose_aborts
    async with two_executors(world) as (a, b):
        await eventually(lambda: a.decisions.unfinished() != [], "it is rejected")
        await eventually(lambda: world.database.is_away, "its Abort is lost")
        assert world.shelf.reserved.keys() == {ORDER}
        assert world.queue.results == {}
        hand_leadership(a, b, 2)
        await asyncio.sleep(0.05)
        assert world.queue.results == {}
        world.database.on_arrival, world.database.is_away = None, False
        await b.all_end()
    assert [reason.code for reason in world.queue.results[ORDER].reasons] == ["payment_declined"]


async def test_everything_that_participants_heard_is_replayed_after_the_end_and_after_it_is_forgotten() -> None:
    world = World({"Book A": 12}, declined=[3, 8])
    # Some attempts are given up, so that there are Aborts of attempts, too.
    setup = Setup(world, in_flight_max=8)
    world.queue.put(*(queued_order(number) for number in range(1, 17)))
    world.payment.is_away = True
    async with setup.running():
        await eventually(
            lambda: any(isinstance(message, Decision) for message in world.database.heard), "attempts are given up"
        )
        world.payment.is_away = False
        await setup.all_end()
    for participant in (world.database, world.payment):
        told = {(type(message), getattr(message, "commit", None)) for message in participant.heard}
        assert told >= {(Transaction, None), (Decision, True), (Decision, False)}
        heard = list(participant.heard)
        before = dict(participant.core.records)
        for message in heard + heard[::-1]:
            replay(participant, message)
        assert participant.core.records == before
        world.assert_books_agree()
        participant.core.finish_below(len(world.queue.orders) + 1)
        participant.core.prune()
        assert participant.core.records == {}
        for message in heard + heard[::-1]:
            answer = replay(participant, message)
            if isinstance(answer, Vote):
                assert answer.kind is VoteKind.REFUSED
            else:
                assert answer.finished
        assert participant.core.records == {}
        world.assert_books_agree()


def replay(participant: ParticipantDouble, message: Message) -> Vote | Acknowledgement:
    if isinstance(message, Decision):
        return participant.core.decide(message)
    return participant.core.prepare(message.attempt, message.position, message)


async def test_the_tenth_attempt_is_above_the_ninth_and_epoch_ten_above_nine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared as texts they would be in the wrong order."""
    monkeypatch.setattr(leadership, "pause_before_s", lambda _action: 0.0)
    world = World()
    world.queue.put(queued_order(1))
    setup = Setup(world, term=9)
    world.payment.is_away = True

    def attempts() -> list[Attempt]:
        return [message.attempt for message in world.database.heard if isinstance(message, Transaction)]

    async with setup.running():
        await eventually(lambda: Attempt(ORDER, 9, 11) in attempts(), "nine attempts are not enough")
        setup.node.become(term=10, ready=False)
        setup.node.become(term=10, ready=True)
        await eventually(lambda: Attempt(ORDER, 10, 1) in attempts(), "the next epoch begins")
        made = attempts()
        assert made == sorted(set(made), key=lambda attempt: (attempt.epoch, attempt.number))
        assert {attempt.number for attempt in made if attempt.epoch == 9} >= set(range(1, 12))
        for message in [message for message in world.database.heard if message.attempt.epoch == 9]:
            answer = replay(world.database, message)
            if isinstance(answer, Vote):
                assert answer.kind is VoteKind.REFUSED, message.attempt
        world.payment.is_away = False
        await setup.all_end()
    decision = setup.decisions.decision(ORDER)
    assert decision is not None
    assert decision.attempt.epoch == 10
