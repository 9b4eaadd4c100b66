"""OrderQueueService: between the wire and the replicated machine."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import psycopg

from order_queue import commands, validation
from order_queue.claims import Claims, EpochSharedError, StaleEpochError
from order_queue.commands import Bounds, Completed, Full, InArchive, Registered
from order_queue.order_record import OrderRecord, OrderState, Refund
from order_queue.queue_machine import QueueMachine
from order_queue.wakeups import WORK, Wakeups, end_of
from utils.clocks.story import last_clock
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.pb import order_queue_pb2, order_queue_pb2_grpc
from utils.pb.convert import clock_to_proto, packed_story_from_proto, queued_order_to_proto, reason_to_proto
from utils.raft.consensus import Consensus
from utils.raft.errors import NotLeaderError
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import FailedPrecondition, NotFound, ResourceExhausted, Unavailable

log = get_logger()

# How long one proposal or one confirmation of leadership may take, if the caller waits that long.
RAFT_TIMEOUT_S = 5.0
# What is left of a caller's time after a long wait, to confirm leadership and to answer in.
ANSWER_RESERVE_S = 1.0

_STATES = {
    OrderState.PENDING: order_queue_pb2.OrderRecord.STATE_PENDING,
    OrderState.APPROVED: order_queue_pb2.OrderRecord.STATE_APPROVED,
    OrderState.REJECTED: order_queue_pb2.OrderRecord.STATE_REJECTED,
}


class CallContext(Protocol):
    def time_remaining(self) -> float: ...


class Archive(Protocol):
    """`order_queue.record_store.RecordStore`."""

    async def read(self, order_id: str) -> OrderRecord | None: ...


# The record of an order that the queue has forgotten. Raises Unavailable.
Archived = Callable[[str], Awaitable[OrderRecord]]


class OrderQueueServicer(order_queue_pb2_grpc.OrderQueueServiceServicer):
    """Every method is idempotent, as ClusterChannel asks."""

    def __init__(
        self,
        node: Consensus,
        machine: QueueMachine,
        claims: Claims,
        wakeups: Wakeups,
        *,
        bounds: Bounds,
        archive: Archive | None,
    ) -> None:
        """`archive`: None where nothing is recorded, and so nothing forgotten."""
        self._node = node
        self._machine = machine
        self._claims = claims
        self._wakeups = wakeups
        self._bounds = bounds
        self._archive = archive

    async def Enqueue(self, request: order_queue_pb2.EnqueueRequest, context: Any) -> order_queue_pb2.EnqueueResponse:
        order = validation.queued_order(request.order)
        fingerprint, story = validation.fingerprint(request.fingerprint), packed_story_from_proto(request.story)
        command = commands.Enqueue(order, fingerprint, self._bounds, story)
        return order_queue_pb2.EnqueueResponse(record=await self._register(order.order_id, command, context))

    async def RecordRejection(
        self, request: order_queue_pb2.RecordRejectionRequest, context: Any
    ) -> order_queue_pb2.RecordRejectionResponse:
        order_id = validation.order_id(request.order_id)
        command = commands.RecordRejection(
            order_id,
            validation.fingerprint(request.fingerprint),
            validation.reasons(request.reasons),
            validation.risk_score(request.risk_score),
            self._bounds,
            packed_story_from_proto(request.story),
        )
        return order_queue_pb2.RecordRejectionResponse(record=await self._register(order_id, command, context))

    async def GetOrder(
        self, request: order_queue_pb2.GetOrderRequest, context: Any
    ) -> order_queue_pb2.GetOrderResponse:
        """An end is final, so whichever node has applied it may tell it; anything else needs the leader's word."""
        order_id = validation.order_id(request.order_id)
        if self._machine.is_forgotten(order_id):
            return order_queue_pb2.GetOrderResponse(record=record_to_proto(await self.archived(order_id)))
        deadline = wait_until(request.wait_ms / 1_000, context)
        with raft_errors():
            if self._machine.record(order_id) is None:
                await self._confirm_leadership(context)
            record = self._machine.record(order_id)
            while record is not None and not record.ended_index and (remaining := remaining_s(deadline)) > 0:
                self._leading_term()
                await self._wakeups.wait(end_of(order_id), remaining)
                record = self._machine.record(order_id)
            if record is not None and not record.ended_index:
                await self._confirm_leadership(context)
                record = self._machine.record(order_id)
        if record is None:
            raise NotFound(f"order {order_id} is not known")
        response = order_queue_pb2.GetOrderResponse(record=record_to_proto(record))
        if not record.ended_index:
            held = self._claims.held
            response.orders_ahead = 0 if order_id in held else self._machine.ahead_of(order_id, excluding=held)
        return response

    async def Dequeue(self, request: order_queue_pb2.DequeueRequest, context: Any) -> order_queue_pb2.DequeueResponse:
        """See claims.py for the rules."""
        wanted = validation.poll_request(request)
        deadline = wait_until(wanted.wait_s, context)
        with raft_errors():
            term = self._leading_term()
            poll = self._begin(wanted)
            while True:
                if self._machine.first_pending(1, excluding=self._claims.held):
                    await self._confirm_leadership(context)
                    if self._counts(poll, term) and (records := self._hand_out(poll, wanted.orders_max)):
                        return self._polled(records)
                elif (remaining := remaining_s(deadline)) > 0:
                    await self._wakeups.wait(WORK, remaining)
                else:
                    return self._polled(())
                if not self._counts(poll, term):
                    self._leading_term()
                    return order_queue_pb2.DequeueResponse()

    async def Complete(
        self, request: order_queue_pb2.CompleteRequest, context: Any
    ) -> order_queue_pb2.CompleteResponse:
        outcome = await self._propose(commands.Complete(validation.results(request.results)), context)
        assert isinstance(outcome, Completed)
        for record in outcome.ended:
            log.info("order ended", order_id=record.order_id, state=record.state, position=record.position)
        for alarm in outcome.alarms:
            count("order_queue.alarms")
            log.error(
                "alarm: a result contradicts what the queue has",
                order_id=alarm.result.order_id,
                epoch=alarm.result.epoch,
                state_refused=alarm.result.state,
                confirmation_code_refused=alarm.result.confirmation_code,
                state_kept=alarm.kept.state if alarm.kept else "unknown order",
                confirmation_code_kept=alarm.kept.confirmation_code if alarm.kept else "",
            )
        return order_queue_pb2.CompleteResponse()

    async def GetQueueStats(
        self, request: order_queue_pb2.GetQueueStatsRequest, context: Any
    ) -> order_queue_pb2.GetQueueStatsResponse:
        with raft_errors():
            await self._confirm_leadership(context)
        claimed = sum(self._machine.is_pending(order_id) for order_id in self._claims.held)
        return order_queue_pb2.GetQueueStatsResponse(
            waiting=self._machine.pending_count - claimed,
            claimed=claimed,
            completed=self._machine.ended_count,
            unrecorded=self._machine.unrecorded_count,
        )

    async def _register(
        self, order_id: str, command: commands.Enqueue | commands.RecordRejection, context: CallContext
    ) -> order_queue_pb2.OrderRecord:
        # What would be refused is not even logged. Only a leader's bounds are up to date: the others redirect.
        full = self._machine.full(self._bounds) if self._node.status.ready else None
        if full is None or self._machine.record(order_id) is not None or self._machine.is_forgotten(order_id):
            outcome = await self._propose(command, context)
            if isinstance(outcome, Registered):
                if outcome.is_new:
                    record = outcome.record
                    log.info("order registered", order_id=order_id, state=record.state, position=record.position)
                return record_to_proto(outcome.record)
            if isinstance(outcome, InArchive):
                return record_to_proto(await self.archived(order_id))
            assert isinstance(outcome, Full)
            full = outcome
        raise ResourceExhausted(f"the queue is full: {full.bound} {full.what}")

    async def archived(self, order_id: str) -> OrderRecord:
        assert self._archive is not None, "what is forgotten was recorded"
        try:
            record = await self._archive.read(order_id)
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("PostgreSQL does not tell an old order", order_id=order_id, error=str(error))
            record = None
        if record is None:
            raise Unavailable(f"order {order_id} ended long ago, and PostgreSQL does not tell how just now")
        return record

    async def _propose(self, command: commands.Command, context: CallContext) -> object:
        with raft_errors():
            outcome: object = await self._node.propose(commands.encode(command), timeout_s=raft_timeout_s(context))
            return outcome

    async def _confirm_leadership(self, context: CallContext) -> None:
        await self._node.read_barrier(timeout_s=raft_timeout_s(context))

    def _leading_term(self) -> int:
        """The term in which this node leads. Raises NotLeaderError."""
        status = self._node.status
        if status.leader_id != status.node_id:
            raise NotLeaderError(status.leader_id, status.leader_address)
        return status.term

    def _begin(self, wanted: validation.PollRequest) -> int:
        epoch_before = self._claims.epoch
        try:
            poll = self._claims.begin(wanted.executor_id, wanted.epoch, wanted.held_order_ids)
        except StaleEpochError as error:
            raise FailedPrecondition(str(error), highest_epoch=str(error.highest_epoch)) from None
        except EpochSharedError as error:
            count("order_queue.alarms")
            executor_ids = [error.executor_id, error.other_id]
            log.error("alarm: two executors share an epoch", epoch=error.epoch, executor_ids=executor_ids)  # noqa: TRY400
            raise FailedPrecondition(str(error)) from None
        if wanted.epoch != epoch_before:
            log.info(
                "an executor leads a new epoch",
                epoch=wanted.epoch,
                executor_id=wanted.executor_id,
                orders_held=len(wanted.held_order_ids),
            )
        # An older poll that still waits sees that it does not count any more.
        self._wakeups.wake(WORK)
        return poll

    def _polled(self, records: Iterable[OrderRecord]) -> order_queue_pb2.DequeueResponse:
        """What a leader has seen to end has ended, even if it is deposed; what it has not seen comes after that."""
        first_pending = self._machine.first_pending_position()
        ended_below = first_pending if first_pending is not None else self._node.status.last_applied + 1
        return order_queue_pb2.DequeueResponse(orders=_claimed_orders(records), ended_below=ended_below)

    def _counts(self, poll: int, term: int) -> bool:
        return self._claims.counts(poll) and self._node.status.term == term

    def _hand_out(self, poll: int, orders_max: int) -> list[OrderRecord]:
        """Without a wait between looking and claiming. Nothing, if what there was has ended meanwhile."""
        records = self._machine.first_pending(orders_max, excluding=self._claims.held)
        if records:
            order_ids = [record.order_id for record in records]
            self._claims.hand_out(poll, order_ids)
            log.info("orders handed out", order_ids=order_ids, epoch=self._claims.epoch)
        return records


def _claimed_orders(records: Iterable[OrderRecord]) -> Iterable[order_queue_pb2.ClaimedOrder]:
    for record in records:
        assert record.order is not None, "a pending order has its content"
        yield order_queue_pb2.ClaimedOrder(
            order=queued_order_to_proto(record.order),
            position=record.position,
            clock=clock_to_proto(last_clock(record.story).entries),
        )


def record_to_proto(record: OrderRecord) -> order_queue_pb2.OrderRecord:
    return order_queue_pb2.OrderRecord(
        order_id=record.order_id,
        state=_STATES[record.state],
        position=record.position,
        fingerprint=record.fingerprint,
        order=None if record.order is None else queued_order_to_proto(record.order),
        reasons=[reason_to_proto(reason) for reason in record.reasons],
        confirmation_code=record.confirmation_code,
        risk_score=record.risk_score,
        refund=None if record.refund is None else _refund_to_proto(record.refund),
    )


def _refund_to_proto(refund: Refund) -> order_queue_pb2.Refund:
    return order_queue_pb2.Refund(
        operator=refund.operator,
        reason=refund.reason,
        restock=refund.restock,
        requested_at_ms=refund.requested_at_ms,
        refund_code=refund.refund_code,
    )


def wait_until(wait_s: float, context: CallContext) -> float:
    """When a long poll answers at the latest, by the loop's clock."""
    return asyncio.get_running_loop().time() + min(wait_s, context.time_remaining() - ANSWER_RESERVE_S)


def remaining_s(deadline: float) -> float:
    """By the loop's clock."""
    return deadline - asyncio.get_running_loop().time()


def raft_timeout_s(context: CallContext) -> float:
    """Of one proposal or one confirmation of leadership."""
    return min(RAFT_TIMEOUT_S, context.time_remaining())
