"""The order queue's cluster, over gRPC."""

from collections.abc import Sequence
from typing import Final

import msgspec

from orchestrator.ports import OrderRecord, OrderState, Refund
from utils.clocks.story import Story
from utils.domain.order import QueuedOrder, Reason
from utils.pb import order_queue_pb2, order_queue_pb2_grpc
from utils.pb.convert import (
    queued_order_from_proto,
    queued_order_to_proto,
    reason_from_proto,
    reason_to_proto,
)
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import Internal

_STATES: Final = {
    order_queue_pb2.OrderRecord.STATE_PENDING: OrderState.PENDING,
    order_queue_pb2.OrderRecord.STATE_APPROVED: OrderState.APPROVED,
    order_queue_pb2.OrderRecord.STATE_REJECTED: OrderState.REJECTED,
}


class OrderQueueClient:
    """Serves `orchestrator.ports.OrderQueue`. Every call may reach the cluster more than once: all are idempotent."""

    def __init__(self, runtime: BlockingRuntime, addresses: Sequence[str]) -> None:
        self._runtime = runtime
        self._addresses = addresses
        runtime.run(self._open())

    async def _open(self) -> None:
        self._channel = ClusterChannel(self._addresses)
        self._stub = order_queue_pb2_grpc.OrderQueueServiceStub(self._channel)  # type: ignore[arg-type]

    def enqueue(self, order: QueuedOrder, fingerprint: bytes, story: Story, *, timeout_s: float) -> OrderRecord:
        async def call() -> OrderRecord:
            request = order_queue_pb2.EnqueueRequest(
                order=queued_order_to_proto(order), fingerprint=fingerprint, story=story
            )
            return order_record((await self._stub.Enqueue(request, timeout=timeout_s)).record)

        return self._runtime.run(call())

    def record_rejection(
        self,
        order_id: str,
        fingerprint: bytes,
        reasons: tuple[Reason, ...],
        risk_score: int,
        story: Story,
        *,
        timeout_s: float,
    ) -> OrderRecord:
        async def call() -> OrderRecord:
            request = order_queue_pb2.RecordRejectionRequest(
                order_id=order_id,
                fingerprint=fingerprint,
                reasons=[reason_to_proto(reason) for reason in reasons],
                risk_score=risk_score,
                story=story,
            )
            return order_record((await self._stub.RecordRejection(request, timeout=timeout_s)).record)

        return self._runtime.run(call())

    def get_order(self, order_id: str, *, wait_s: float, timeout_s: float) -> OrderRecord:
        async def call() -> OrderRecord:
            request = order_queue_pb2.GetOrderRequest(order_id=order_id, wait_ms=int(wait_s * 1_000))
            response = await self._stub.GetOrder(request, timeout=timeout_s)
            record = order_record(response.record)
            if response.HasField("orders_ahead"):
                record = msgspec.structs.replace(record, orders_ahead=response.orders_ahead)
            return record

        return self._runtime.run(call())

    def close(self) -> None:
        self._runtime.run(self._channel.close())


def order_record(message: order_queue_pb2.OrderRecord) -> OrderRecord:
    try:
        state = _STATES[message.state]
    except KeyError:
        raise Internal(f"the queue answered with the unknown state {message.state}") from None
    return OrderRecord(
        order_id=message.order_id,
        state=state,
        fingerprint=message.fingerprint,
        order=queued_order_from_proto(message.order) if message.HasField("order") else None,
        reasons=tuple(reason_from_proto(reason) for reason in message.reasons),
        confirmation_code=message.confirmation_code,
        risk_score=message.risk_score,
        refund=_refund(message.refund) if message.HasField("refund") else None,
    )


def _refund(message: order_queue_pb2.Refund) -> Refund:
    return Refund(message.reason, message.requested_at_ms, message.refund_code)
