"""One leader's epoch: it finishes what earlier leaders decided, takes orders from the queue, and carries them out.

Many orders are under way at once, each with a coordinator of its own; whatever they send to the same place travels in
batches. All of it is tasks of one group, which is cancelled when the epoch is over: nothing outlives it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from order_executor.batching import Batcher
from order_executor.order_clock import OrderClock
from order_executor.ports import ClaimedOrder, Election, OrderQueue, OrderResult, Participant
from order_executor.publishing import Publisher
from order_executor.refunds import Refunds
from order_executor.retry_policy import DRAIN_TIMEOUT_S, POLL, POLL_WAIT_S, pause_before_s
from order_executor.rotation import Rotation
from utils.clocks.story import PackedClock, Story
from utils.domain.order import QueuedOrder
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.raft.errors import RaftError
from utils.rpc.errors import ServiceError
from utils.two_phase_commit.actions import (
    Action,
    Alarm,
    Complete,
    ConfirmFinished,
    OrderDecision,
    Propose,
    RecordAsFinished,
    Request,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.coordinator import Coordinator
from utils.two_phase_commit.decision_log import Command, PublishFinished, RecordDecision, RecordFinished
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Transaction, Vote

log = get_logger()

# Decided orders that wait for an absent participant leave room for new ones, up to this many times the orders that
# may be undecided. Beyond it something is so broken that taking more orders only makes it worse.
HELD_FACTOR = 16


@dataclass(frozen=True)
class _Order:
    coordinator: Coordinator
    position: int
    # None for an order that was decided before this term: nobody asks to prepare it again.
    order: QueuedOrder | None
    clock: OrderClock

    def transaction(self, attempt: Attempt) -> Transaction:
        assert self.order is not None
        order = self.order
        return Transaction(
            attempt, self.position, order.items, order.amount_cents, order.instrument, self.clock.ask(attempt)
        )


class Leadership:
    """The node is ready in `epoch`. After `rotate_after` orders it lets another one lead, if that is given."""

    def __init__(
        self,
        epoch: int,
        *,
        election: Election,
        queue: OrderQueue,
        participants: Mapping[str, Participant],
        in_flight_max: int,
        rotate_after: int | None,
    ) -> None:
        self.epoch = epoch
        self.is_handing_over = False
        self._election = election
        self._decisions = election.decisions
        self._queue = queue
        self._participants = participants
        self._in_flight_max = in_flight_max
        self._rotation = Rotation(rotate_after)
        self._orders: dict[str, _Order] = {}
        self._undecided: set[str] = set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def orders_in_flight(self) -> int:
        return len(self._orders)

    def has_given_up(self, attempt: Attempt) -> bool:
        """Whether `attempt`, one of this epoch, was ended before anything was proposed for it."""
        order = self._orders.get(attempt.order_id)
        return order is not None and order.coordinator.has_given_up(attempt)

    def story(self, order_id: str) -> tuple[Attempt, Story] | None:
        """The attempt that an order in hand is at, and what this leader has done for it; None for any other order."""
        order = self._orders.get(order_id)
        return None if order is None else (order.coordinator.attempt, order.clock.story)

    async def run(self) -> None:
        """Until it is cancelled. Any exception is a defect."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._prepares: dict[str, Batcher[Transaction, Vote]] = {
                name: Batcher(tasks, partial(self._prepare, participant))
                for name, participant in self._participants.items()
            }
            self._deliveries: dict[str, Batcher[Decision, Acknowledgement]] = {
                name: Batcher(tasks, participant.decide) for name, participant in self._participants.items()
            }
            self._records: Batcher[Command, OrderDecision | None] = Batcher(
                tasks, lambda commands: self._election.record(commands, epoch=self.epoch)
            )
            self._results: Batcher[OrderResult, None] = Batcher(tasks, self._queue.complete)
            self._publisher = Publisher(tasks, self._decisions, self._records, self.epoch)
            unfinished = self._decisions.unfinished()
            log.info("leading", epoch=self.epoch, unfinished=len(unfinished))
            for decision in unfinished:
                self._take(decision.order_id, decision.position, None, b"")
            self._polling = tasks.create_task(self._poll())
            tasks.create_task(Refunds(self._queue, self._participants, tasks).run())
            # An epoch ends from outside, also one in which nothing is polled any more.
            await asyncio.Event().wait()

    async def retire(self) -> None:
        """Takes no more orders, waits a while for those in hand, and leaves what remains to the next leader."""
        self._polling.cancel()
        await self._drained()
        await self._hand_over()

    async def _poll(self) -> None:
        failures = 0
        while True:
            if self._rotation.is_due(self._orders):
                await self._rotate()
                continue
            await self._has_room.wait()
            room = self._rotation.room(self._in_flight_max - len(self._undecided))
            try:
                claimed = await self._queue.dequeue(self.epoch, list(self._orders), room, POLL_WAIT_S)
            except ServiceError as error:
                failures += 1
                log.warning("the queue cannot be polled", epoch=self.epoch, error=error.message, tries=failures)
                await asyncio.sleep(POLL.pause_s(failures))
                continue
            failures = 0
            for order in claimed.orders:
                self._claim(order)
            self._rotation.took(len(claimed.orders))
            self._publisher.ended(claimed.ended_below)

    async def _rotate(self) -> None:
        """Drains, so that no order starts again with another leader, and hands over. Returns if that has failed."""
        if await self._drained():
            await self._hand_over()
            while not self._election.status.ready:
                await self._election.changed()
            self.is_handing_over = False
        else:
            log.info("leadership is kept: orders are slow", epoch=self.epoch, orders=len(self._orders))
        self._rotation.tried(self._orders)

    async def _drained(self) -> bool:
        """Whether all orders in hand have ended within DRAIN_TIMEOUT_S."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True

    async def _hand_over(self) -> None:
        self.is_handing_over = True
        try:
            await self._election.hand_over()
        except RaftError as error:
            log.warning("leadership was not handed over", epoch=self.epoch, error=str(error))

    async def _prepare(self, participant: Participant, transactions: Sequence[Transaction]) -> Sequence[Vote]:
        return await participant.prepare(transactions, self._decisions.finished_below)

    def _claim(self, claimed: ClaimedOrder) -> None:
        order_id = claimed.order.order_id
        if order_id in self._orders:
            log.warning("an order in hand was handed out again", order_id=order_id, epoch=self.epoch)
            return
        self._take(order_id, claimed.position, claimed.order, claimed.clock)

    def _take(self, order_id: str, position: int, order: QueuedOrder | None, clock: PackedClock) -> None:
        coordinator = Coordinator(
            order_id,
            position,
            epoch=self.epoch,
            participants=tuple(self._participants),
            recorded_decision=self._decisions.decision,
        )
        taken = _Order(coordinator, position, order, OrderClock(self.epoch, clock))
        self._orders[order_id] = taken
        self._is_empty.clear()
        self._undecided.add(order_id)
        self._perform(taken, coordinator.start())

    def _perform(self, order: _Order, actions: Sequence[Action]) -> None:
        coordinator = order.coordinator
        if self._orders.get(coordinator.order_id) is not order:
            # Answers for an order that others have finished meanwhile.
            return
        for action in actions:
            if isinstance(action, Alarm):
                count("executor.alarms")
                log.error(
                    "alarm: the order cannot be ended", order_id=action.order_id, epoch=self.epoch, why=action.what
                )
            else:
                self._tasks.create_task(self._carry_out(order, action))
        if coordinator.is_recorded:
            self._undecided.discard(coordinator.order_id)
        if coordinator.is_finished:
            del self._orders[coordinator.order_id]
            if not self._orders:
                self._is_empty.set()
        if len(self._undecided) < self._in_flight_max and len(self._orders) < HELD_FACTOR * self._in_flight_max:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _carry_out(self, order: _Order, action: Request | TryAgain) -> None:
        if isinstance(action, TryAgain):
            log.info("attempt given up", **_names(action.attempt), why=action.why)
        if pause_s := pause_before_s(action):
            await asyncio.sleep(pause_s)
        try:
            following = await self._request(order, action)
        except (ServiceError, RaftError) as error:
            assert not isinstance(action, TryAgain)
            # A peer that is away for an hour is not worth a line for each try.
            if (action.tries + 1).bit_count() == 1:
                log.warning(
                    "a step failed",
                    step=type(action).__name__,
                    **_names(order.coordinator.attempt),
                    participant=getattr(action, "participant", None),
                    tries=action.tries + 1,
                    error=str(error),
                )
            following = order.coordinator.failed(action)
        self._perform(order, following)

    async def _request(self, order: _Order, action: Request | TryAgain) -> list[Action]:
        coordinator = order.coordinator
        match action:
            case SendPrepare(participant, attempt):
                vote = await self._prepares[participant].submit(order.transaction(attempt))
                order.clock.voted(vote.clock)
                return coordinator.voted(participant, vote)
            case Propose(decision):
                recorded = await self._records.submit(RecordDecision(order.clock.decide(decision)))
                if recorded is None:
                    return coordinator.confirmed(self._decisions.finished_below)
                log.info("decided", **_names(recorded.attempt), commit=recorded.commit)
                return coordinator.recorded(recorded)
            case SendDecision(participant, told):
                if (known := self._decisions.decision(coordinator.order_id)) is not None:
                    order.clock.recorded(known)
                told = msgspec.structs.replace(told, position=order.position, clock=order.clock.now)
                acknowledgement = await self._deliveries[participant].submit(told)
                order.clock.acknowledged(participant, acknowledgement.story)
                return coordinator.acknowledged(action, acknowledgement)
            case Complete(order_id, approved, confirmation_code, reasons):
                clock = order.clock
                result = OrderResult(order_id, self.epoch, approved, confirmation_code, reasons, clock.story, clock.now)
                await self._results.submit(result)
                return coordinator.completed()
            case RecordAsFinished(order_id):
                await self._records.submit(RecordFinished(order_id))
                count("executor.orders_finished")
                return coordinator.finished()
            case ConfirmFinished():
                # Recorded by whoever still leads, and by nobody else.
                await self._records.submit(PublishFinished(0))
                return coordinator.confirmed(self._decisions.finished_below)
            case TryAgain(attempt):
                return coordinator.try_again(attempt)


def _names(attempt: Attempt) -> dict[str, str | int]:
    return {"order_id": attempt.order_id, "epoch": attempt.epoch, "attempt": attempt.number}
