"""A payment service for tests: answers, fails or blocks as it is told. As a program it prints its port."""

import asyncio
from typing import Any

from utils.observe.logging import configure_logging
from utils.pb import payment_pb2, payment_pb2_grpc
from utils.rpc.server import RpcServer


class PaymentDouble(payment_pb2_grpc.PaymentServiceServicer):
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._blocked: str | None = None
        self._released = asyncio.Event()
        self._milestones: list[tuple[int, asyncio.Event]] = []

    def release(self) -> None:
        """Lets the calls that wait go on."""
        self._released.set()

    async def called(self, times: int) -> None:
        """Waits until so many calls have come."""
        reached = asyncio.Event()
        self._milestones.append((times, reached))
        await reached.wait()

    def block(self, order_id: str = "") -> None:
        """Calls for this order wait until they are cancelled."""
        self._blocked = order_id

    async def GetPayment(self, request: payment_pb2.GetPaymentRequest, context: Any) -> payment_pb2.GetPaymentResponse:
        self.calls += 1
        for count, reached in self._milestones:
            if self.calls >= count:
                reached.set()
        if self.error is not None:
            raise self.error
        if request.order_id == self._blocked:
            self.entered.set()
            try:
                await self._released.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return payment_pb2.GetPaymentResponse(order_id=request.order_id)

    async def ListCaptures(
        self, request: payment_pb2.ListCapturesRequest, context: Any
    ) -> payment_pb2.ListCapturesResponse:
        return payment_pb2.ListCapturesResponse()


async def main() -> None:
    configure_logging("payment", "payment-service")
    server = RpcServer("127.0.0.1:0", node_id="payment-service")
    payment_pb2_grpc.add_PaymentServiceServicer_to_server(PaymentDouble(), server)  # type: ignore[arg-type]
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
