"""The neighbours over the wire: the words of the domain on this side, protobuf on the other."""

from collections.abc import Sequence

from order_executor.ports import Claimed, ClaimedOrder, OrderResult, UnfinishedRefund
from order_executor.retry_policy import OPERATION_TIMEOUT_S
from utils.clocks.story import Story
from utils.pb import order_queue_pb2, refund_pb2, two_phase_commit_pb2
from utils.pb.convert import (
    packed_clock_from_proto,
    packed_clock_to_proto,
    priced_item_from_proto,
    queued_order_from_proto,
    reason_to_proto,
)
from utils.pb.order_queue_pb2_grpc import OrderQueueServiceStub
from utils.pb.refund_pb2_grpc import RefundServiceStub
from utils.pb.two_phase_commit_pb2_grpc import ParticipantServiceStub
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import Internal
from utils.two_phase_commit.convert import (
    acknowledgement_from_proto,
    compensated_from_proto,
    compensation_to_proto,
    decision_to_proto,
    transaction_to_proto,
    vote_from_proto,
)
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Compensation,
    Decision,
    Transaction,
    Vote,
)


class OrderQueueClient:
    def __init__(self, channel: ClusterChannel, executor_id: str) -> None:
        self._stub = OrderQueueServiceStub(channel)  # type: ignore[arg-type]
        self._refunds = RefundServiceStub(channel)  # type: ignore[arg-type]
        self._executor_id = executor_id

    async def dequeue(self, epoch: int, held_order_ids: Sequence[str], max_orders: int, wait_s: float) -> Claimed:
        request = order_queue_pb2.DequeueRequest(
            executor_id=self._executor_id,
            epoch=epoch,
            held_order_ids=held_order_ids,
            max_orders=max_orders,
            wait_ms=int(wait_s * 1_000),
        )
        response = await self._stub.Dequeue(request, timeout=wait_s + OPERATION_TIMEOUT_S)
        orders = [
            ClaimedOrder(
                queued_order_from_proto(claimed.order), claimed.position, packed_clock_from_proto(claimed.clock)
            )
            for claimed in response.orders
        ]
        return Claimed(orders, response.ended_below)

    async def complete(self, results: Sequence[OrderResult]) -> Sequence[None]:
        request = order_queue_pb2.CompleteRequest(results=[_result_to_proto(result) for result in results])
        await self._stub.Complete(request, timeout=OPERATION_TIMEOUT_S)
        return [None] * len(results)

    async def poll_refunds(
        self, held_order_ids: Sequence[str], max_refunds: int, wait_s: float
    ) -> list[UnfinishedRefund]:
        request = refund_pb2.PollRefundsRequest(
            held_order_ids=held_order_ids, max_refunds=max_refunds, wait_ms=int(wait_s * 1_000)
        )
        response = await self._refunds.PollRefunds(request, timeout=wait_s + OPERATION_TIMEOUT_S)
        return [_refund_from_proto(message) for message in response.refunds]

    async def complete_refund(self, order_id: str, refund_code: str, story: Story) -> None:
        request = refund_pb2.CompleteRefundRequest(order_id=order_id, refund_code=refund_code, story=story)
        await self._refunds.CompleteRefund(request, timeout=OPERATION_TIMEOUT_S)


class ParticipantClient:
    """Of the database's primary (ClusterChannel) or of payment (Channel)."""

    def __init__(self, channel: Channel | ClusterChannel) -> None:
        self._stub = ParticipantServiceStub(channel)  # type: ignore[arg-type]

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> list[Vote]:
        request = two_phase_commit_pb2.PrepareRequest(
            transactions=[transaction_to_proto(transaction) for transaction in transactions],
            finished_below=finished_below,
        )
        response = await self._stub.Prepare(request, timeout=OPERATION_TIMEOUT_S)
        votes = [vote_from_proto(vote) for vote in response.votes]
        _check_order([vote.attempt for vote in votes], [transaction.attempt for transaction in transactions])
        return votes

    async def decide(self, decisions: Sequence[Decision]) -> list[Acknowledgement]:
        request = two_phase_commit_pb2.DecideRequest(decisions=[decision_to_proto(decision) for decision in decisions])
        response = await self._stub.Decide(request, timeout=OPERATION_TIMEOUT_S)
        acknowledgements = [acknowledgement_from_proto(message) for message in response.acknowledgements]
        _check_order([message.attempt for message in acknowledgements], [decision.attempt for decision in decisions])
        return acknowledgements

    async def compensate(self, compensation: Compensation) -> Compensated:
        request = compensation_to_proto(compensation)
        return compensated_from_proto(await self._stub.Compensate(request, timeout=OPERATION_TIMEOUT_S))


def _refund_from_proto(message: refund_pb2.UnfinishedRefund) -> UnfinishedRefund:
    items = tuple(priced_item_from_proto(item) for item in message.items)
    clock = packed_clock_from_proto(message.clock)
    compensation = Compensation(message.order_id, message.position, items, message.amount_cents, clock)
    return UnfinishedRefund(compensation, message.restock)


def _check_order(answered: list[Attempt], asked: list[Attempt]) -> None:
    """An answer taken for another order's would break atomicity. Raises Internal."""
    if answered != asked:
        raise Internal("a participant did not answer one for one, in the order asked")


def _result_to_proto(result: OrderResult) -> order_queue_pb2.OrderResult:
    return order_queue_pb2.OrderResult(
        order_id=result.order_id,
        epoch=result.epoch,
        approved=result.approved,
        confirmation_code=result.confirmation_code,
        reasons=[reason_to_proto(reason) for reason in result.reasons],
        story=result.story,
        clock=packed_clock_to_proto(result.clock),
    )
