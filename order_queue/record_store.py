"""The table of order records in PostgreSQL: for people and reports, and for keys older than the queue remembers."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from order_queue.order_record import OrderRecord
from utils.domain.order import Book, PricedItem, Reason

CONNECT_TIMEOUT_S: Final = 5
WRITE_TIMEOUT_S: Final = 10.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS order_records (
    order_id           text PRIMARY KEY,
    state              text NOT NULL CHECK (state IN ('approved', 'rejected')),
    -- The queue's log indexes at which the order arrived and ended.
    position           bigint NOT NULL,
    ended_index        bigint NOT NULL,
    -- Keyed hash of the request's body.
    fingerprint        bytea NOT NULL,
    risk_score         integer NOT NULL,
    reasons            jsonb NOT NULL,
    confirmation_code  text NOT NULL,
    -- From here on NULL for an order that verification rejected.
    items              jsonb,
    shipping_cents     bigint,
    amount_cents       bigint,
    payment_method     text,
    payment_brand      text,
    payment_last_four  text,
    suggested_books    jsonb,
    discount_code      text,
    clock              jsonb,
    customer_hash      text,
    accepted_at        timestamptz,
    recorded_at        timestamptz NOT NULL DEFAULT now()
)
"""

# A record is written when it is final, so the first one written stays.
_INSERT: Final = """
INSERT INTO order_records (
    order_id, state, position, ended_index, fingerprint, risk_score, reasons, confirmation_code,
    items, shipping_cents, amount_cents, payment_method, payment_brand, payment_last_four,
    suggested_books, discount_code, clock, customer_hash, accepted_at
) VALUES (
    %(order_id)s, %(state)s, %(position)s, %(ended_index)s, %(fingerprint)s, %(risk_score)s, %(reasons)s,
    %(confirmation_code)s, %(items)s, %(shipping_cents)s, %(amount_cents)s, %(payment_method)s, %(payment_brand)s,
    %(payment_last_four)s, %(suggested_books)s, %(discount_code)s, %(clock)s, %(customer_hash)s,
    to_timestamp(%(accepted_at_ms)s / 1000.0)
) ON CONFLICT (order_id) DO NOTHING
"""


class RecordStore:
    """One connection, opened when it is needed and again after any failure: there is one writer."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def write(self, records: Sequence[OrderRecord]) -> None:
        """All of them are kept for good when it returns. Idempotent. Raises psycopg.Error, OSError or TimeoutError."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                connection = await self._connected()
                async with connection.transaction(), connection.cursor() as cursor:
                    await cursor.executemany(_INSERT, [_row(record) for record in records])
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connection, if there is one; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            )
            await self._connection.execute(_SCHEMA)
        return self._connection


def _row(record: OrderRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "order_id": record.order_id,
        "state": record.state.value,
        "position": record.position,
        "ended_index": record.ended_index,
        "fingerprint": record.fingerprint,
        "risk_score": record.risk_score,
        "reasons": Jsonb([_reason(reason) for reason in record.reasons]),
        "confirmation_code": record.confirmation_code,
    }
    if (order := record.order) is None:
        return row | dict.fromkeys(_ORDER_COLUMNS)
    return row | {
        "items": Jsonb([_item(item) for item in order.items]),
        "shipping_cents": order.shipping_cents,
        "amount_cents": order.amount_cents,
        "payment_method": order.instrument.method.value,
        "payment_brand": order.instrument.brand,
        "payment_last_four": order.instrument.last_four,
        "suggested_books": Jsonb([_book(book) for book in order.suggested_books]),
        "discount_code": order.discount_code,
        "clock": Jsonb(order.clock),
        "customer_hash": order.customer_hash,
        "accepted_at_ms": order.accepted_at_ms,
    }


_ORDER_COLUMNS: Final = (
    "items", "shipping_cents", "amount_cents", "payment_method", "payment_brand", "payment_last_four",
    "suggested_books", "discount_code", "clock", "customer_hash", "accepted_at_ms",
)  # fmt: skip


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "message": reason.message, "field": reason.field}


def _item(item: PricedItem) -> dict[str, Any]:
    return {"title": item.title, "quantity": item.quantity, "unit_price_cents": item.unit_price_cents}


def _book(book: Book) -> dict[str, str]:
    return {"book_id": book.book_id, "title": book.title, "author": book.author}
