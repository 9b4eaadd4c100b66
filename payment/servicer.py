"""PaymentService: what payment knows of an order, and every capture."""

from typing import Any

from payment.durable_ledger import DurableLedger
from payment.ledger import Payment, PaymentState
from utils.pb import payment_pb2 as pb, payment_pb2_grpc
from utils.rpc.errors import NotFound
from utils.two_phase_commit.convert import attempt_to_proto

# Of one page.
CAPTURES_MAX = 1_000

_STATES = {
    PaymentState.AUTHORISED: pb.GetPaymentResponse.STATE_AUTHORISED,
    PaymentState.DECLINED: pb.GetPaymentResponse.STATE_DECLINED,
    PaymentState.CAPTURED: pb.GetPaymentResponse.STATE_CAPTURED,
    PaymentState.VOIDED: pb.GetPaymentResponse.STATE_VOIDED,
    PaymentState.REFUNDED: pb.GetPaymentResponse.STATE_REFUNDED,
}


class PaymentServicer(payment_pb2_grpc.PaymentServiceServicer):
    def __init__(self, ledger: DurableLedger) -> None:
        self._ledger = ledger

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Any) -> pb.GetPaymentResponse:
        payment = await self._ledger.payment(request.order_id, timeout_s=context.time_remaining())
        if payment is None:
            raise NotFound(f"there is no payment of order {request.order_id}")
        return pb.GetPaymentResponse(
            order_id=request.order_id,
            state=_STATES[payment.state],
            amount_cents=payment.charge.amount_cents,
            confirmation_code=payment.confirmation_code,
            attempt=attempt_to_proto(payment.attempt),
            refund_code=payment.refund_code,
        )

    async def ListCaptures(self, request: pb.ListCapturesRequest, context: Any) -> pb.ListCapturesResponse:
        captures_max = min(request.max_captures or CAPTURES_MAX, CAPTURES_MAX)
        captures = await self._ledger.captures(request.after_order_id, captures_max, timeout_s=context.time_remaining())
        return pb.ListCapturesResponse(captures=[_capture(order_id, payment) for order_id, payment in captures])


def _capture(order_id: str, payment: Payment) -> pb.Capture:
    return pb.Capture(
        order_id=order_id,
        amount_cents=payment.charge.amount_cents,
        confirmation_code=payment.confirmation_code,
        refund_code=payment.refund_code,
    )
