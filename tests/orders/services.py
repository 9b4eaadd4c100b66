"""The real machines of the queue, the database, payment and the executors' log, each with labelled places to crash.

A machine that crashes answers nobody and comes back from what was durable: its snapshot, or its journal. An executor
that crashes hears nothing more; the next one leads a higher epoch.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from db_node.commands import Decide, OrderedCopies, Prepare, Restock, Restocked, Seed
from db_node.database_machine import DatabaseMachine, encode as encode_database
from order_executor.ports import Claimed, ClaimedOrder, LeaderStatus, OrderResult, UnfinishedRefund
from order_queue import commands
from order_queue.order_heap import OrderHeap
from order_queue.order_record import OrderRecord, OrderResult as QueuedResult
from order_queue.queue_machine import QueueMachine
from payment.ledger import Ledger, LedgerEntry, Luck
from tests.support.crash_points import Point
from utils.clocks.story import Story
from utils.db_client.keys import stock_key
from utils.domain.order import QueuedOrder
from utils.raft.errors import NotLeaderError, OutcomeUnknownError
from utils.rpc.errors import Unavailable
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog, encode as encode_log
from utils.two_phase_commit.messages import Acknowledgement, Compensated, Compensation, Decision, Transaction, Vote

# Who pays by card is authorised, who pays by transfer is declined.
LUCK = Luck("sweep", 1.0, 0.0)
_BOUNDS = commands.Bounds(pending_max=100, unrecorded_max=100)
_LINK_S = 0.001


class Trap:
    """Springs at each of its points once, one after the other."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.left = list(points)
        self.sprung = asyncio.Event()
        self.executor_died = asyncio.Event()

    def springs(self, service: str, call: str, moment: str) -> Point | None:
        if self.left and self.left[0][:3] == (service, call, moment):
            self.sprung.set()
            return self.left.pop(0)
        return None


class Service:
    """Carries out one call at a time, as their owners do."""

    name: str
    # What whoever asked sees of a crash.
    crash: Exception = Unavailable("it crashed")

    def __init__(self, trap: Trap) -> None:
        self._trap = trap

    def restart(self) -> None:
        """Comes back from what is durable."""
        raise NotImplementedError

    async def call(self, name: str, carry_out: Callable[[], Any]) -> Any:
        await asyncio.sleep(_LINK_S)
        await self._pass(name, "before")
        answer = carry_out()
        await self._pass(name, "after")
        await asyncio.sleep(_LINK_S)
        return answer

    async def _pass(self, name: str, moment: str) -> None:
        if (point := self._trap.springs(self.name, name, moment)) is None:
            return
        if point.victim == "service":
            self.restart()
            raise self.crash
        self._trap.executor_died.set()
        # It never comes back from here: its tasks are cancelled.
        await asyncio.Event().wait()


class Queue(Service):
    """An order_executor.ports.OrderQueue over the real machine; the claims are the names in the latest poll."""

    name = "queue"

    def __init__(self, trap: Trap) -> None:
        super().__init__(trap)
        self.machine = _queue_machine()
        self.conflicts = 0
        self._index = 0
        self._arrived = asyncio.Event()
        self._requested = asyncio.Event()

    def restart(self) -> None:
        machine = _queue_machine()
        machine.restore(self.machine.snapshot())
        self.machine = machine

    def put(self, order: QueuedOrder) -> None:
        self._apply(commands.Enqueue(order, b"\0" * 32, _BOUNDS))
        self._arrived.set()

    async def dequeue(self, epoch: int, held_order_ids: Sequence[str], max_orders: int, wait_s: float) -> Claimed:
        held = set(held_order_ids)
        if not self.machine.first_pending(1, excluding=held):
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._arrived.wait()
            except TimeoutError:
                return Claimed()

        def hand_out() -> Claimed:
            records = self.machine.first_pending(max_orders, excluding=held)
            orders = [ClaimedOrder(record.order, record.position) for record in records if record.order is not None]
            first_pending = self.machine.first_pending_position()
            return Claimed(orders, first_pending if first_pending is not None else self._index + 1)

        claimed: Claimed = await self.call("dequeue", hand_out)
        return claimed

    async def complete(self, results: Sequence[OrderResult]) -> Sequence[None]:
        told = tuple(
            QueuedResult(one.order_id, one.epoch, one.approved, one.confirmation_code, one.reasons) for one in results
        )

        def end() -> list[None]:
            self.conflicts += len(self._apply(commands.Complete(told)).alarms)
            return [None] * len(results)

        done: list[None] = await self.call("complete", end)
        return done

    def request_refund(self, order_id: str, *, restock: bool) -> None:
        requested = self._apply(commands.RequestRefund(order_id, "ada", "The parcel was lost.", restock, 1, _BOUNDS))
        assert isinstance(requested, commands.RefundRequested), requested
        self._requested.set()

    async def poll_refunds(
        self, held_order_ids: Sequence[str], max_refunds: int, wait_s: float
    ) -> Sequence[UnfinishedRefund]:
        held = set(held_order_ids)
        if not self.machine.unfinished_refunds(1, excluding=held):
            self._requested.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._requested.wait()
            except TimeoutError:
                return ()
        refunds: Sequence[UnfinishedRefund] = await self.call(
            "poll_refunds",
            lambda: [_refund(record) for record in self.machine.unfinished_refunds(max_refunds, excluding=held)],
        )
        return refunds

    async def complete_refund(self, order_id: str, refund_code: str, story: Story) -> None:
        def end() -> None:
            self.conflicts += self._apply(commands.CompleteRefund(order_id, refund_code)).is_alarm

        await self.call("complete_refund", end)

    def _apply(self, command: commands.Command) -> Any:
        self._index += 1
        return self.machine.apply(self._index, commands.encode(command))


class Database(Service):
    """An order_executor.ports.Participant over the real machine."""

    name = "database"

    def __init__(self, trap: Trap, stock: dict[str, int]) -> None:
        super().__init__(trap)
        self.machine = DatabaseMachine()
        self._index = 0
        self._apply(Seed({stock_key(title): copies for title, copies in stock.items()}))

    def restart(self) -> None:
        machine = DatabaseMachine()
        machine.restore(self.machine.snapshot())
        self.machine = machine

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> Sequence[Vote]:
        orders = []
        for one in transactions:
            quantities: Counter[str] = Counter()
            for item in one.items:
                quantities[item.title] += item.quantity
            orders.append(OrderedCopies(one.attempt, one.position, dict(quantities)))
        votes: Sequence[Vote] = await self.call("prepare", lambda: self._apply(Prepare(tuple(orders), finished_below)))
        return votes

    async def decide(self, decisions: Sequence[Decision]) -> Sequence[Acknowledgement]:
        done: Sequence[Acknowledgement] = await self.call("decide", lambda: self._apply(Decide(tuple(decisions))))
        return done

    async def compensate(self, compensation: Compensation) -> Compensated:
        quantities: Counter[str] = Counter()
        for item in compensation.items:
            quantities[item.title] += item.quantity
        command = Restock(compensation.order_id, compensation.position, dict(quantities))
        restocked = await self.call("compensate", lambda: self._apply(command))
        assert isinstance(restocked, Restocked), restocked
        return Compensated(story=restocked.story)

    def _apply(self, command: Any) -> Any:
        self._index += 1
        return self.machine.apply(self._index, encode_database(command))


class Payment(Service):
    """An order_executor.ports.Participant over the real ledger; its journal is what every answer waits for."""

    name = "payment"

    def __init__(self, trap: Trap) -> None:
        super().__init__(trap)
        self.ledger = Ledger(LUCK)
        self.journal: dict[str, LedgerEntry] = {}

    def restart(self) -> None:
        finished_below = self.ledger.finished_below
        self.ledger = Ledger(LUCK)
        self.ledger.restore(self.journal.values(), finished_below)

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> Sequence[Vote]:
        def vote() -> list[Vote]:
            self.ledger.finish_below(finished_below)
            return self._durably([self.ledger.prepare(transaction) for transaction in transactions])

        votes: list[Vote] = await self.call("prepare", vote)
        return votes

    async def decide(self, decisions: Sequence[Decision]) -> Sequence[Acknowledgement]:
        done: list[Acknowledgement] = await self.call(
            "decide", lambda: self._durably([self.ledger.decide(decision) for decision in decisions])
        )
        return done

    async def compensate(self, compensation: Compensation) -> Compensated:
        def refund() -> list[str]:
            entry = self.journal[compensation.order_id]
            assert entry.payment is not None
            assert entry.payment.was_captured
            return self._durably([self.ledger.refund(entry)])

        (code,) = await self.call("compensate", refund)
        return Compensated(code)

    def _durably(self, answers: list[Any]) -> list[Any]:
        self.journal |= {entry.record.attempt.order_id: entry for entry in self.ledger.take_changes()}
        return answers


class Log(Service):
    """An order_executor.ports.Election: the real decision log, led by whoever is told to."""

    name = "log"
    crash = OutcomeUnknownError("the node that led crashed")

    def __init__(self, trap: Trap) -> None:
        super().__init__(trap)
        self.decisions = DecisionLog()
        self.epoch = 1
        self._index = 0

    @property
    def status(self) -> LeaderStatus:
        return LeaderStatus("order_executor_1", self.epoch, "order_executor_1", None, True)

    def changed(self) -> Coroutine[Any, Any, Any]:
        """Nobody else ever leads: an executor that dies is replaced as a whole."""
        return asyncio.Event().wait()

    def restart(self) -> None:
        # The executor reads the same object all its life.
        self.decisions.restore(self.decisions.snapshot())

    async def record(self, told: Sequence[Command], *, epoch: int) -> Sequence[OrderDecision | None]:
        def apply() -> list[OrderDecision | None]:
            if epoch != self.epoch:
                raise NotLeaderError(None, None)
            self._index += 1
            return self.decisions.apply(self._index, encode_log(told))

        results: list[OrderDecision | None] = await self.call("record", apply)
        return results

    async def hand_over(self) -> None:
        raise NotLeaderError(None, None)


def _refund(record: OrderRecord) -> UnfinishedRefund:
    assert record.order is not None
    assert record.refund is not None
    order = record.order
    compensation = Compensation(record.order_id, record.position, order.items, order.amount_cents)
    return UnfinishedRefund(compensation, record.refund.restock)


def _queue_machine() -> QueueMachine:
    return QueueMachine(OrderHeap(threading.Lock()))
