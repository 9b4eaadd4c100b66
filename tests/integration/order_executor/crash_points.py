"""The rows of the crash table, as places in an executor where it dies.

They are put between an executor and its ports: the executor itself knows nothing of them.
"""

import asyncio
import enum
import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from order_executor.consensus_election import ConsensusElection
from order_executor.node import DATABASE, PAYMENT, ExecutorNode
from order_executor.ports import Claimed, Election, OrderQueue, OrderResult, Participant, UnfinishedRefund
from utils.clocks.story import Story
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command
from utils.two_phase_commit.messages import Acknowledgement, Compensated, Compensation, Decision, Transaction, Vote


class CrashPoint(enum.StrEnum):
    BEFORE_PREPARE = "before_prepare"
    ONE_PREPARED = "one_prepared"
    ALL_VOTES_IN = "all_votes_in"
    DECISION_PROPOSED = "decision_proposed"
    DECISION_COMMITTED = "decision_committed"
    ONE_TOLD = "one_told"
    ALL_TOLD = "all_told"
    COMPLETED = "completed"


class Trap(ABC):
    """Kills whoever first comes to `point`; `first` is the participant that is told before the other."""

    def __init__(self, point: CrashPoint, first: str) -> None:
        self.point = point
        self.first = first

    @property
    @abstractmethod
    def is_armed(self) -> bool: ...

    @abstractmethod
    async def crash(self) -> None:
        """Dies, or comes back after its successor has gone on."""

    async def spring(self, *points: CrashPoint) -> None:
        if self.is_at(*points):
            await self.crash()

    def is_at(self, *points: CrashPoint) -> bool:
        return self.is_armed and self.point in points


def _crashing_record(election: Election, trap: Trap) -> Callable[..., Awaitable[Sequence[OrderDecision | None]]]:
    record = election.record

    async def crashing(commands: Sequence[Command], *, epoch: int) -> Sequence[OrderDecision | None]:
        await trap.spring(CrashPoint.ALL_VOTES_IN)
        is_proposed = _proposal_watch(election)
        proposal = asyncio.create_task(record(commands, epoch=epoch))
        if trap.is_at(CrashPoint.DECISION_PROPOSED):
            while not is_proposed():  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0)
            await trap.crash()
        result = await proposal
        await trap.spring(CrashPoint.DECISION_COMMITTED)
        return result

    return crashing


def _proposal_watch(election: Election) -> Callable[[], bool]:
    """Whether what is proposed from now on is under way; whether it will be recorded is open."""
    if isinstance(election, ConsensusElection):
        raft = election._node
        last_log_index = raft.status.last_log_index  # type: ignore[attr-defined]
        # In this node's log.
        return lambda: raft.status.last_log_index > last_log_index  # type: ignore[attr-defined]
    turns = itertools.count()
    # The call is on the wire to the database.
    return lambda: next(turns) > 3


class _CrashingParticipant:
    def __init__(self, inner: Participant, name: str, trap: Trap) -> None:
        self._inner = inner
        self._name = name
        self._trap = trap

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> Sequence[Vote]:
        await self._trap.spring(CrashPoint.BEFORE_PREPARE)
        if self._trap.is_at(CrashPoint.ONE_PREPARED):
            await self._first_only(lambda: self._inner.prepare(transactions, finished_below))
        return await self._inner.prepare(transactions, finished_below)

    async def decide(self, decisions: Sequence[Decision]) -> Sequence[Acknowledgement]:
        if self._trap.is_at(CrashPoint.ONE_TOLD):
            await self._first_only(lambda: self._inner.decide(decisions))
        return await self._inner.decide(decisions)

    async def compensate(self, compensation: Compensation) -> Compensated:
        return await self._inner.compensate(compensation)

    async def _first_only(self, call: Callable[[], Awaitable[Any]]) -> None:
        """The other one hears nothing before the crash."""
        if self._name != self._trap.first:
            await asyncio.Event().wait()
        await call()
        await self._trap.crash()


class _CrashingQueue:
    def __init__(self, inner: OrderQueue, trap: Trap) -> None:
        self._inner = inner
        self._trap = trap

    async def dequeue(self, epoch: int, held_order_ids: Sequence[str], max_orders: int, wait_s: float) -> Claimed:
        return await self._inner.dequeue(epoch, held_order_ids, max_orders, wait_s)

    async def complete(self, results: Sequence[OrderResult]) -> Sequence[None]:
        await self._trap.spring(CrashPoint.ALL_TOLD)
        done = await self._inner.complete(results)
        await self._trap.spring(CrashPoint.COMPLETED)
        return done

    async def poll_refunds(
        self, held_order_ids: Sequence[str], max_refunds: int, wait_s: float
    ) -> Sequence[UnfinishedRefund]:
        return await self._inner.poll_refunds(held_order_ids, max_refunds, wait_s)

    async def complete_refund(self, order_id: str, refund_code: str, story: Story) -> None:
        await self._inner.complete_refund(order_id, refund_code, story)


def install(node: ExecutorNode, trap: Trap) -> None:
    """Puts the trap between the node's executor and its ports."""
    executor = node.executor
    node.election.record = _crashing_record(node.election, trap)  # type: ignore[method-assign, assignment]
    executor._queue = _CrashingQueue(executor._queue, trap)
    executor._participants = {
        name: _CrashingParticipant(executor._participants[name], name, trap) for name in (DATABASE, PAYMENT)
    }
