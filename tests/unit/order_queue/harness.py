"""The service around a fake consensus, called as the RPC layer calls it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from order_queue.claims import Claims
from order_queue.commands import Bounds, Command, encode
from order_queue.order_record import OrderRecord
from order_queue.servicer import OrderQueueServicer
from order_queue.wakeups import Wakeups, WakingMachine
from tests.unit.order_queue import words
from tests.unit.order_queue.fake_consensus import FakeConsensus
from utils.pb import order_queue_pb2 as pb
from utils.pb.convert import queued_order_to_proto, reason_to_proto

WAIT_MS = 20_000


class Context:
    """Of a caller with 30 s of patience, by default."""

    def __init__(self, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s

    def time_remaining(self) -> float:
        return self._timeout_s


class FakeArchive:
    """PostgreSQL, as far as the service reads it; with `failure` it is away."""

    def __init__(self) -> None:
        self.records: dict[str, OrderRecord] = {}
        self.failure: Exception | None = None

    async def read(self, order_id: str) -> OrderRecord | None:
        if self.failure is not None:
            raise self.failure
        return self.records.get(order_id)


class Harness:
    """Built inside a test's event loop."""

    def __init__(self, bounds: Bounds = words.BOUNDS) -> None:
        self.machine = words.machine()
        self.claims = Claims()
        self.wakeups = Wakeups()
        self.consensus = FakeConsensus(WakingMachine(self.machine, self.wakeups))
        self.archive = FakeArchive()
        self.servicer = OrderQueueServicer(
            self.consensus, self.machine, self.claims, self.wakeups, bounds=bounds, archive=self.archive
        )

    def commit(self, *commands: Command) -> None:
        """Entries committed by whoever."""
        for command in commands:
            self.consensus.apply(encode(command))

    def forget(self, number: int) -> None:
        """The order, an ended one, is in the archive, and the queue forgets all up to it."""
        record = self.machine.record(words.order_id(number))
        assert record is not None
        self.archive.records[record.order_id] = record
        self.commit(words.mark_recorded(record.ended_index), words.forget(record.ended_index))

    def lose_leadership(self) -> None:
        """As the node does it: forget the claims, wake everybody."""
        self.consensus.lose_leadership()
        self.claims.forget()
        self.wakeups.wake_all()

    async def enqueue(self, number: int, quantity: int = 1, *, body: int = 1) -> pb.OrderRecord:
        return (await self.servicer.Enqueue(enqueue_request(number, quantity, body=body), Context())).record

    async def get(self, number: int, wait_ms: int = 0, timeout_s: float = 30.0) -> pb.OrderRecord:
        request = pb.GetOrderRequest(order_id=words.order_id(number), wait_ms=wait_ms)
        return (await self.servicer.GetOrder(request, Context(timeout_s))).record

    async def orders_ahead(self, number: int) -> int | None:
        response = await self.servicer.GetOrder(pb.GetOrderRequest(order_id=words.order_id(number)), Context())
        return response.orders_ahead if response.HasField("orders_ahead") else None

    async def poll(
        self,
        *held: int,
        epoch: int = 1,
        max_orders: int = 10,
        wait_ms: int = 0,
        executor_id: str = "order_executor_1",
        timeout_s: float = 30.0,
    ) -> list[int]:
        """The numbers of the orders handed out."""
        request = pb.DequeueRequest(
            executor_id=executor_id,
            epoch=epoch,
            held_order_ids=[words.order_id(number) for number in held],
            max_orders=max_orders,
            wait_ms=wait_ms,
        )
        response = await self.servicer.Dequeue(request, Context(timeout_s))
        return [words.number_of(claimed.order.order_id) for claimed in response.orders]

    async def complete(self, *results: pb.OrderResult) -> None:
        await self.servicer.Complete(pb.CompleteRequest(results=results), Context())


def enqueue_request(number: int, quantity: int = 1, *, body: int = 1) -> pb.EnqueueRequest:
    return pb.EnqueueRequest(
        order=queued_order_to_proto(words.order(number, quantity)), fingerprint=words.fingerprint(body)
    )


def rejection_request(number: int, *, body: int = 1) -> pb.RecordRejectionRequest:
    rejection = words.rejection(number, body=body)
    return pb.RecordRejectionRequest(
        order_id=rejection.order_id,
        fingerprint=rejection.fingerprint,
        reasons=[reason_to_proto(reason) for reason in rejection.reasons],
        risk_score=rejection.risk_score,
    )


def approved(number: int, *, epoch: int = 1, code: str = "CODE") -> pb.OrderResult:
    return pb.OrderResult(order_id=words.order_id(number), epoch=epoch, approved=True, confirmation_code=code)


def rejected(number: int, *, epoch: int = 1) -> pb.OrderResult:
    return pb.OrderResult(order_id=words.order_id(number), epoch=epoch, reasons=[reason_to_proto(words.NO_STOCK)])


async def started(call: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """The call as a task that has run as far as it can without news."""
    task = asyncio.create_task(call)
    for _ in range(5):
        await asyncio.sleep(0)
    return task
