"""RefundService: an operator takes an approved order back, and the executors carry it out.

A request is one entry of the queue's log, and a poll hands it out until it is completed: a new leader, of the queue or
of the executors, finds what its predecessor has not finished. Nobody claims a refund, and no epoch fences one: what two
executors do at once, each participant does once.
"""

import time
from typing import Any

from order_queue import validation
from order_queue.commands import (
    Bounds,
    CompleteRefund,
    Full,
    InArchive,
    RefundCompleted,
    RefundRefused,
    RefundRequested,
    RequestRefund,
    encode,
)
from order_queue.order_record import OrderRecord
from order_queue.queue_machine import QueueMachine
from order_queue.servicer import Archived, CallContext, raft_timeout_s, record_to_proto, remaining_s, wait_until
from order_queue.wakeups import REFUNDS, Wakeups, refund_of
from utils.clocks.story import last_clock
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.pb import refund_pb2 as pb, refund_pb2_grpc
from utils.pb.convert import clock_to_proto, packed_story_from_proto, priced_item_to_proto
from utils.raft.consensus import Consensus
from utils.raft.errors import NotLeaderError
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import FailedPrecondition, NotFound, ResourceExhausted

log = get_logger()


class RefundServicer(refund_pb2_grpc.RefundServiceServicer):
    """Every method raises NotLeader on a follower, and Unavailable when what became of a command is not known."""

    def __init__(
        self, node: Consensus, machine: QueueMachine, wakeups: Wakeups, *, bounds: Bounds, archived: Archived
    ) -> None:
        """`archived`: the record of an order that the queue has forgotten."""
        self._node = node
        self._machine = machine
        self._wakeups = wakeups
        self._bounds = bounds
        self._archived = archived

    async def RequestRefund(self, request: pb.RequestRefundRequest, context: Any) -> pb.RequestRefundResponse:
        order_id = validation.order_id(request.order_id)
        operator, reason = validation.refund_words(request.operator, request.reason)
        deadline = wait_until(request.wait_ms / 1_000, context)
        with raft_errors():
            record = await self._requested(order_id, operator, reason, request.restock, context)
            while record.refund is not None and not record.refund.done_index and (left_s := remaining_s(deadline)) > 0:
                self._check_leads()
                await self._wakeups.wait(refund_of(order_id), left_s)
                # Forgotten meanwhile, it is done, as it was; then what PostgreSQL says is asked for another time.
                record = self._machine.record(order_id) or record
        return pb.RequestRefundResponse(record=record_to_proto(record))

    async def PollRefunds(self, request: pb.PollRefundsRequest, context: Any) -> pb.PollRefundsResponse:
        held, refunds_max = validation.refund_poll(request)
        deadline = wait_until(request.wait_ms / 1_000, context)
        with raft_errors():
            while True:
                self._check_leads()
                unfinished = self._machine.unfinished_refunds(refunds_max, excluding=held)
                if unfinished or (left_s := remaining_s(deadline)) <= 0:
                    return pb.PollRefundsResponse(refunds=[_unfinished(record) for record in unfinished])
                await self._wakeups.wait(REFUNDS, left_s)

    async def CompleteRefund(self, request: pb.CompleteRefundRequest, context: Any) -> pb.CompleteRefundResponse:
        command = CompleteRefund(
            validation.order_id(request.order_id),
            validation.refund_code(request.refund_code),
            packed_story_from_proto(request.story),
        )
        with raft_errors():
            outcome = await self._node.propose(encode(command), timeout_s=raft_timeout_s(context))
        assert isinstance(outcome, RefundCompleted)
        if outcome.is_new:
            log.info("order refunded", order_id=command.order_id, refund_code=command.refund_code)
        if outcome.is_alarm:
            count("order_queue.alarms")
            log.error(
                "alarm: a refund contradicts what the queue has",
                order_id=command.order_id,
                refund_code_refused=command.refund_code,
            )
        return pb.CompleteRefundResponse()

    async def _requested(
        self, order_id: str, operator: str, reason: str, restock: bool, context: CallContext
    ) -> OrderRecord:
        archived: OrderRecord | None = None
        while True:
            self._check_leads()
            if self._machine.is_forgotten(order_id):
                archived = await self._archived(order_id)
            command = RequestRefund(
                order_id, operator, reason, restock, time.time_ns() // 1_000_000, self._bounds, archived
            )
            outcome = await self._node.propose(encode(command), timeout_s=raft_timeout_s(context))
            match outcome:
                case RefundRequested(record, is_new):
                    if is_new:
                        log.info("refund requested", order_id=order_id, operator=operator, restock=restock)
                    return record
                case RefundRefused(OrderRecord(state=state)):
                    raise FailedPrecondition(f"order {order_id} is {state}: only an approved order is refunded")
                case RefundRefused():
                    raise NotFound(f"order {order_id} is not known")
                case Full(what, bound):
                    raise ResourceExhausted(f"the queue is full: {bound} {what}")
                case InArchive():
                    # It was forgotten while the command was on its way.
                    continue
                case _:
                    raise AssertionError(outcome)

    def _check_leads(self) -> None:
        status = self._node.status
        if status.leader_id != status.node_id:
            raise NotLeaderError(status.leader_id, status.leader_address)


def _unfinished(record: OrderRecord) -> pb.UnfinishedRefund:
    assert record.order is not None, "an approved order has its content"
    assert record.refund is not None
    return pb.UnfinishedRefund(
        order_id=record.order_id,
        position=record.position,
        items=[priced_item_to_proto(item) for item in record.order.items],
        amount_cents=record.order.amount_cents,
        restock=record.refund.restock,
        clock=clock_to_proto(last_clock(record.story).entries),
    )
