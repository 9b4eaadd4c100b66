"""Looks into the system from outside: who leads, and what each part of it holds."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg

from bookstore.shop_client import CLUSTERS
from bookstore.system import DB_NODES, PAYMENT, QUEUE_NODES
from tests.chaos.evidence import Capture, Evidence, Record, Shelved
from tests.chaos.machines import Machines
from utils.pb import (
    database_pb2,
    database_pb2_grpc,
    payment_pb2,
    payment_pb2_grpc,
    raft_pb2,
    raft_pb2_grpc,
    refund_pb2,
    refund_pb2_grpc,
)
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import NotFound, ServiceError

RPC_TIMEOUT_S = 20.0
LEADER_TIMEOUT_S = 30.0
_STATUS_TIMEOUT_S = 1.0
_REFUND_WAIT_MS = 5_000
_POLL_S = 0.1
_SETTLE_POLL_S = 0.5
_PAGE = 500
# Payment is asked for so many orders at once.
_ASKED_AT_ONCE = 200

_T = TypeVar("_T")


class Observer:
    """Its channels live in one event loop for the whole run. Addresses are read anew for each look: they change."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._runtime = BlockingRuntime()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runtime.close()

    def leader(self, cluster: str) -> str:
        """The node that leads a cluster and is ready to serve, the newest one if an old one does not know of it yet.

        Raises TimeoutError when there is none for 30 s.
        """
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        nodes = CLUSTERS[cluster]
        while time.monotonic() < deadline:
            terms = self._runtime.run(_all(self._term_led(self._machines.address(node)) for node in nodes))
            if max(terms) > 0:
                return nodes[terms.index(max(terms))]
            time.sleep(_POLL_S)
        raise TimeoutError(f"{cluster} has no leader for {LEADER_TIMEOUT_S:.0f} s")

    def stock_the_shelf(self, copies: dict[str, int], prices_cents: dict[str, int]) -> None:
        """Writes each title's price and stock, before anybody orders."""
        keys = {f"price:{title}": cents for title, cents in prices_cents.items()}
        keys |= {f"stock:{title}": count for title, count in copies.items()}

        client_id = secrets.token_hex(8)

        async def write(channel: Any) -> None:
            stub = database_pb2_grpc.DatabaseServiceStub(channel)
            for sequence, (key, value) in enumerate(keys.items(), 1):
                request = database_pb2.WriteRequest(
                    key=key,
                    value=database_pb2.Value(integer=value),
                    request_id=database_pb2.RequestId(client_id=client_id, sequence=sequence),
                )
                await stub.Write(request, timeout=RPC_TIMEOUT_S)

        self._runtime.run(_with_channel(self._database, write))

    def refund(self, order_id: str, restock: bool) -> str:
        """Asks for it, and waits a while: its code, "" if it is not done yet. Raises ServiceError."""
        request = refund_pb2.RequestRefundRequest(
            order_id=order_id, operator="chaos", reason="A test.", restock=restock, wait_ms=_REFUND_WAIT_MS
        )

        async def ask(channel: Any) -> str:
            stub = refund_pb2_grpc.RefundServiceStub(channel)
            response = await stub.RequestRefund(request, timeout=RPC_TIMEOUT_S)
            return str(response.record.refund.refund_code)

        addresses = [self._machines.address(node) for node in QUEUE_NODES]
        return self._runtime.run(_with_channel(lambda: ClusterChannel(addresses), ask))

    def gather(self, order_ids: set[str], *, settle_s: float) -> Evidence:
        """All there is. Waits up to `settle_s` for what may be on its way: records, and what is not decided yet."""
        deadline = time.monotonic() + settle_s
        while True:
            evidence = self._evidence(order_ids)
            recorded = {record.order_id for record in evidence.records}
            reserved = any(shelved.reserved for shelved in evidence.shelf.values())
            refunded = {capture.refund_code for capture in evidence.captures if capture.refund_code}
            refunded -= {record.refund_code for record in evidence.records}
            settled = (
                order_ids <= recorded and not refunded and not (evidence.holds or evidence.reservations or reserved)
            )
            if settled or time.monotonic() > deadline:
                return evidence
            time.sleep(_SETTLE_POLL_S)

    def _evidence(self, order_ids: set[str]) -> Evidence:
        async def read_payment(channel: Any) -> tuple[list[Capture], list[str]]:
            stub = payment_pb2_grpc.PaymentServiceStub(channel)
            return await _captures(stub), await _holds(stub, sorted(order_ids))

        shelf, reservations = self._runtime.run(_with_channel(self._database, _read_database))
        payment = self._machines.address(PAYMENT)
        captures, holds = self._runtime.run(_with_channel(lambda: Channel(payment), read_payment))
        return Evidence(shelf, reservations, captures, holds, _records(self._machines.database_url))

    def _database(self) -> ClusterChannel:
        return ClusterChannel([self._machines.address(node) for node in DB_NODES])

    async def _term_led(self, address: str) -> int:
        """0 when the node leads none."""

        async def ask(channel: Any) -> int:
            stub = raft_pb2_grpc.RaftServiceStub(channel)
            try:
                answer = await stub.GetRaftStatus(raft_pb2.GetRaftStatusRequest(), timeout=_STATUS_TIMEOUT_S)
            except ServiceError:
                return 0
            return answer.term if answer.role == "leader" and answer.ready else 0

        return await _with_channel(lambda: Channel(address), ask)


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
        captures += [
            Capture(found.order_id, found.amount_cents, found.confirmation_code, found.refund_code) for found in page
        ]
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


def _records(dsn: str) -> list[Record]:
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            rows = connection.execute(
                "SELECT order_id, state, amount_cents, confirmation_code, items, coalesce(refund->>'refund_code', '') "
                "FROM order_records"
            ).fetchall()
    except psycopg.errors.UndefinedTable:
        return []  # the first record makes the table
    return [
        Record(order_id, state, amount_cents, code, _quantities(items), refund_code)
        for order_id, state, amount_cents, code, items, refund_code in rows
    ]


def _quantities(items: list[dict[str, Any]] | None) -> dict[str, int] | None:
    return None if items is None else {item["title"]: item["quantity"] for item in items}


async def _all(questions: Iterable[Awaitable[_T]]) -> list[_T]:
    return await asyncio.gather(*questions)


async def _with_channel(make: Callable[[], Any], use: Callable[[Any], Awaitable[_T]]) -> _T:
    """A channel belongs to the event loop in which it is made."""
    channel = make()
    try:
        return await use(channel)
    finally:
        await channel.close()
