"""What the system holds after a run, read from each place that holds something."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import psycopg

from bookstore.postgres import database_url
from bookstore.running import RunningSystem
from bookstore.system import DB_NODES, PAYMENT, POSTGRES
from utils.pb import database_pb2, database_pb2_grpc, payment_pb2, payment_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import NotFound

RPC_TIMEOUT_S = 20.0
_PAGE = 500
# Payment is asked for so many orders at once.
_ASKED_AT_ONCE = 200

_T = TypeVar("_T")


class Shelved(msgspec.Struct, frozen=True):
    copies: int
    reserved: int


class Capture(msgspec.Struct, frozen=True):
    order_id: str
    amount_cents: int
    confirmation_code: str


class Record(msgspec.Struct, frozen=True):
    """A row of order_records. `items`: None for an order that verification rejected."""

    order_id: str
    state: str
    amount_cents: int | None
    confirmation_code: str
    items: dict[str, int] | None


class Evidence(msgspec.Struct):
    """`shelf` by title; `reservations` and `holds` are the ids of orders that are not decided somewhere."""

    shelf: dict[str, Shelved]
    reservations: list[str]
    captures: list[Capture]
    holds: list[str]
    records: list[Record]


def gather(system: RunningSystem, order_ids: set[str], *, settle_s: float) -> Evidence:
    """All of it. Waits up to `settle_s` for what may still be on its way: records, and what is not decided."""
    deadline = time.monotonic() + settle_s
    while True:
        evidence = asyncio.run(_gather(system, order_ids))
        recorded = {record.order_id for record in evidence.records}
        reserved = any(shelved.reserved for shelved in evidence.shelf.values())
        settled = order_ids <= recorded and not (evidence.holds or evidence.reservations or reserved)
        if settled or time.monotonic() > deadline:
            return evidence
        time.sleep(0.5)


def stock_the_shelf(system: RunningSystem, copies: dict[str, int], prices_cents: dict[str, int]) -> None:
    """Writes each title's price and stock before anybody orders."""
    keys = {f"price:{title}": cents for title, cents in prices_cents.items()}
    keys |= {f"stock:{title}": count for title, count in copies.items()}

    async def write(channel: Any) -> None:
        stub = database_pb2_grpc.DatabaseServiceStub(channel)
        for sequence, (key, value) in enumerate(keys.items(), 1):
            request = database_pb2.WriteRequest(
                key=key,
                value=database_pb2.Value(integer=value),
                request_id=database_pb2.RequestId(client_id="chaos", sequence=sequence),
            )
            await stub.Write(request, timeout=RPC_TIMEOUT_S)

    asyncio.run(_with_channel(lambda: _database(system), write))


async def _gather(system: RunningSystem, order_ids: set[str]) -> Evidence:
    shelf, reservations = await _with_channel(lambda: _database(system), _read_database)

    async def read_payment(channel: Any) -> tuple[list[Capture], list[str]]:
        stub = payment_pb2_grpc.PaymentServiceStub(channel)
        return await _captures(stub), await _holds(stub, sorted(order_ids))

    captures, holds = await _with_channel(lambda: Channel(system.address(PAYMENT)), read_payment)
    return Evidence(shelf, reservations, captures, holds, _records(system))


async def _read_database(channel: Any) -> tuple[dict[str, Shelved], list[str]]:
    stub = database_pb2_grpc.DatabaseServiceStub(channel)
    shelf: dict[str, Shelved] = {}
    after, more = "", True
    while more:
        request = database_pb2.ReadAllRequest(prefix="stock:", after_key=after, max_entries=_PAGE)
        page = await stub.ReadAll(request, timeout=RPC_TIMEOUT_S)
        for entry in page.entries:
            shelf[entry.key.removeprefix("stock:")] = Shelved(entry.value.integer, entry.reserved)
        more = page.more
        after = page.entries[-1].key if page.entries else ""
    # Any node answers; the linearizable reading above has made the primary current.
    status = await stub.GetDatabaseStatus(database_pb2.GetDatabaseStatusRequest(), timeout=RPC_TIMEOUT_S)
    return shelf, [reservation.order_id for reservation in status.reservations]


async def _captures(stub: Any) -> list[Capture]:
    captures: list[Capture] = []
    after = ""
    while True:
        request = payment_pb2.ListCapturesRequest(after_order_id=after, max_captures=_PAGE)
        page = (await stub.ListCaptures(request, timeout=RPC_TIMEOUT_S)).captures
        if not page:
            return captures
        captures += [Capture(found.order_id, found.amount_cents, found.confirmation_code) for found in page]
        after = page[-1].order_id


async def _holds(stub: Any, order_ids: list[str]) -> list[str]:
    async def held(order_id: str) -> bool:
        try:
            payment = await stub.GetPayment(payment_pb2.GetPaymentRequest(order_id=order_id), timeout=RPC_TIMEOUT_S)
        except NotFound:
            return False
        return bool(payment.state == payment_pb2.GetPaymentResponse.STATE_AUTHORISED)

    holds: list[str] = []
    for start in range(0, len(order_ids), _ASKED_AT_ONCE):
        asked = order_ids[start : start + _ASKED_AT_ONCE]
        answers = await asyncio.gather(*map(held, asked))
        holds += [order_id for order_id, is_held in zip(asked, answers, strict=True) if is_held]
    return holds


def _records(system: RunningSystem) -> list[Record]:
    dsn = database_url(system.data_directory, system.state.process(POSTGRES).port)
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            rows = connection.execute(
                "SELECT order_id, state, amount_cents, confirmation_code, items FROM order_records"
            ).fetchall()
    except psycopg.errors.UndefinedTable:
        return []  # the first record makes the table
    return [
        Record(order_id, state, amount_cents, code, _quantities(items))
        for order_id, state, amount_cents, code, items in rows
    ]


def _quantities(items: list[dict[str, Any]] | None) -> dict[str, int] | None:
    return None if items is None else {item["title"]: item["quantity"] for item in items}


def _database(system: RunningSystem) -> ClusterChannel:
    return ClusterChannel([system.address(node) for node in DB_NODES])


async def _with_channel(make: Callable[[], Any], use: Callable[[Any], Awaitable[_T]]) -> _T:
    channel = make()
    try:
        return await use(channel)
    finally:
        await channel.close()
