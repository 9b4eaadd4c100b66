"""What tests and benchmarks know of the shop: how to order as the page does, and where to count afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from bookstore.running import RunningSystem
from bookstore.system import DB_NODES, EXECUTOR_NODES, PAYMENT, QUEUE_NODES
from utils.db_client.client import DatabaseClient
from utils.db_client.keys import STOCK_PREFIX, stock_key
from utils.pb import (
    order_executor_pb2,
    order_executor_pb2_grpc,
    payment_pb2,
    payment_pb2_grpc,
    raft_pb2,
    raft_pb2_grpc,
)
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError

CLUSTERS = {"db_node": DB_NODES, "order_queue": QUEUE_NODES, "order_executor": EXECUTOR_NODES}
RPC_TIMEOUT_S = 10.0

_T = TypeVar("_T")


def order_body(*items: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """An order that is approved while there is stock and luck; `changes` replace top-level fields."""
    body: dict[str, Any] = {
        "user": {"name": "Ada Lovelace", "contact": "ada.lovelace@example.com"},
        "creditCard": {"number": "4111111111111111", "expirationDate": expiration(years=2), "cvv": "123"},
        "items": [{"name": title, "quantity": quantity} for title, quantity in items],
        "billingAddress": {
            "street": "12 St James's Square",
            "city": "London",
            "state": "London",
            "zip": "SW1Y 4JH",
            "country": "United Kingdom",
        },
        "shippingMethod": "Standard",
        "giftWrapping": False,
        "termsAndConditionsAccepted": True,
    }
    return {**body, **changes}


def expiration(years: int) -> str:
    """ "MM/YY", so many years from now."""
    now = datetime.now(UTC)
    return f"{now.month:02d}/{(now.year + years) % 100:02d}"


def bank_transfer_body(*items: tuple[str, int]) -> dict[str, Any]:
    """The same, paid from a bank account."""
    body = order_body(*items, paymentMethod="bankTransfer", bankAccount={"iban": "DE89370400440532013000"})
    del body["creditCard"]
    return body


@cache
def runtime() -> BlockingRuntime:
    """One event loop for the whole process: gRPC keeps to the first one that it sees."""
    return BlockingRuntime()


async def _with_channel(make: Callable[[], Channel | DatabaseClient], use: Callable[[Any], Awaitable[_T]]) -> _T:
    """A channel belongs to the event loop in which it is made."""
    channel = make()
    try:
        return await use(channel)
    finally:
        await channel.close()


def captures(system: RunningSystem) -> dict[str, int]:
    """What payment has captured, refunded or not: cents by order id."""
    return {capture.order_id: capture.amount_cents for capture in _captures(system)}


def refunds(system: RunningSystem) -> dict[str, str]:
    """What payment has refunded: the refund's code by order id."""
    return {capture.order_id: capture.refund_code for capture in _captures(system) if capture.refund_code}


def _captures(system: RunningSystem) -> list[payment_pb2.Capture]:
    async def read(channel: Any) -> list[payment_pb2.Capture]:
        stub = payment_pb2_grpc.PaymentServiceStub(channel)
        found: list[payment_pb2.Capture] = []
        while True:
            after = found[-1].order_id if found else ""
            request = payment_pb2.ListCapturesRequest(after_order_id=after, max_captures=500)
            page = await stub.ListCaptures(request, timeout=RPC_TIMEOUT_S)
            if not page.captures:
                return found
            found += page.captures

    return runtime().run(_with_channel(lambda: Channel(system.address(PAYMENT)), read))


def stock(system: RunningSystem) -> dict[str, int]:
    """The whole shelf, linearizable page by page: copies by title."""

    async def read(database: DatabaseClient) -> dict[str, int]:
        entries = await database.read_all(STOCK_PREFIX, timeout_s=RPC_TIMEOUT_S)
        return {entry.key.removeprefix(STOCK_PREFIX): int(entry.value) for entry in entries}

    return runtime().run(_with_channel(lambda: _database(system), read))


def set_stock(system: RunningSystem, copies: dict[str, int]) -> None:
    """Writes the shelf: for a benchmark that must not sell out."""

    async def write(database: DatabaseClient) -> None:
        for title, count in copies.items():
            await database.write(stock_key(title), count, timeout_s=RPC_TIMEOUT_S)

    runtime().run(_with_channel(lambda: _database(system), write))


def leader(system: RunningSystem, cluster: str) -> str:
    """The node that leads a cluster and is ready to serve; waits for one. Raises TimeoutError after 30 s."""

    async def ask(node: str) -> bool:
        async def status(channel: Any) -> bool:
            stub = raft_pb2_grpc.RaftServiceStub(channel)
            try:
                answer = await stub.GetRaftStatus(raft_pb2.GetRaftStatusRequest(), timeout=2)
            except ServiceError:
                return False
            return answer.role == "leader" and answer.ready

        return await _with_channel(lambda: Channel(system.address(node)), status)

    async def find() -> str:
        async with asyncio.timeout(30):
            while True:
                for node in system.state.nodes(cluster):
                    if await ask(node):
                        return node
                await asyncio.sleep(0.1)

    return runtime().run(find())


def executor_leader(system: RunningSystem) -> tuple[str, int]:
    """The executor that leads, however they elect, and its epoch; waits for one. Raises TimeoutError after 30 s."""

    async def ask(node: str) -> tuple[str, int] | None:
        async def status(channel: Any) -> tuple[str, int] | None:
            stub = order_executor_pb2_grpc.OrderExecutorServiceStub(channel)
            try:
                answer = await stub.GetExecutorStatus(order_executor_pb2.GetExecutorStatusRequest(), timeout=2)
            except ServiceError:
                return None
            return (node, answer.epoch) if answer.is_leader else None

        return await _with_channel(lambda: Channel(system.address(node)), status)

    async def find() -> tuple[str, int]:
        async with asyncio.timeout(30):
            while True:
                asked = [await ask(node) for node in system.state.nodes("order_executor")]
                if leaders := [found for found in asked if found is not None]:
                    # Of two that believe to lead, the newer one does.
                    return max(leaders, key=lambda found: found[1])
                await asyncio.sleep(0.1)

    return runtime().run(find())


def _database(system: RunningSystem) -> DatabaseClient:
    return DatabaseClient([system.address(node) for node in system.state.nodes("db_node")])
