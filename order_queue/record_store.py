"""The table of order records in PostgreSQL: for people and reports, and for keys older than the queue remembers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from order_queue.order_record import OrderRecord, OrderState, Refund
from utils.domain.order import Book, PaymentInstrument, PaymentMethod, PricedItem, QueuedOrder, Reason
from utils.schema import migrate

CONNECT_TIMEOUT_S: Final = 5
TIMEOUT_S: Final = 10.0

COMPONENT: Final = "order_records"
# See utils.schema.
STEPS: Final = (
    b"""
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
);
-- Packed events (utils.clocks.story).
ALTER TABLE order_records ADD COLUMN IF NOT EXISTS story bytea[] NOT NULL DEFAULT '{}';
CREATE INDEX IF NOT EXISTS order_records_by_age ON order_records (recorded_at, ended_index);
-- Suggestions ask for a customer's latest orders.
CREATE INDEX IF NOT EXISTS order_records_by_customer ON order_records (customer_hash, ended_index)
""",
    b"""
ALTER TABLE order_records
    -- NULL for an order that no operator has taken back.
    ADD COLUMN refund jsonb,
    -- The queue's log index since which the record is as it is; 0 where an earlier program wrote it.
    ADD COLUMN changed_index bigint NOT NULL DEFAULT 0
""",
)

# An order's end is final, so the first one written stays; what may come after it is a refund. A leader that is late
# writes nothing over what a later one has written.
_INSERT: Final = """
INSERT INTO order_records (
    order_id, state, position, ended_index, fingerprint, risk_score, reasons, confirmation_code,
    items, shipping_cents, amount_cents, payment_method, payment_brand, payment_last_four,
    suggested_books, discount_code, clock, customer_hash, accepted_at, story, refund, changed_index
) VALUES (
    %(order_id)s, %(state)s, %(position)s, %(ended_index)s, %(fingerprint)s, %(risk_score)s, %(reasons)s,
    %(confirmation_code)s, %(items)s, %(shipping_cents)s, %(amount_cents)s, %(payment_method)s, %(payment_brand)s,
    %(payment_last_four)s, %(suggested_books)s, %(discount_code)s, %(clock)s, %(customer_hash)s,
    to_timestamp(%(accepted_at_ms)s / 1000.0), %(story)s, %(refund)s, %(changed_index)s
) ON CONFLICT (order_id) DO UPDATE
SET refund = EXCLUDED.refund, story = EXCLUDED.story, changed_index = EXCLUDED.changed_index
WHERE EXCLUDED.refund IS NOT NULL AND order_records.changed_index < EXCLUDED.changed_index
"""


_SELECT: Final = """
SELECT *, (extract(epoch FROM accepted_at) * 1000)::bigint AS accepted_at_ms FROM order_records WHERE order_id = %s
"""

_RECORDED_BEFORE: Final = """
SELECT ended_index FROM order_records WHERE recorded_at < now() - make_interval(secs => %s)
ORDER BY recorded_at DESC, ended_index DESC LIMIT 1
"""


class RecordStore:
    """One connection, opened when it is needed and again after any failure. Who writes and who reads have their own.

    Every method raises psycopg.Error, OSError or TimeoutError.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None
        self._lock = asyncio.Lock()

    async def write(self, records: Sequence[OrderRecord]) -> None:
        """All of them are kept for good when it returns. Idempotent."""
        async with self._cursor() as cursor, cursor.connection.transaction():
            await cursor.executemany(_INSERT, [_row(record) for record in records])

    async def read(self, order_id: str) -> OrderRecord | None:
        """An ended order as it was written last."""
        async with self._cursor() as cursor:
            row = await (await cursor.execute(_SELECT, (order_id,))).fetchone()
        return None if row is None else _record(row)

    async def recorded_before(self, age_s: float) -> int:
        """Up to which log index of the queue everything was written more than `age_s` seconds ago; 0: nothing was."""
        async with self._cursor() as cursor:
            row = await (await cursor.execute(_RECORDED_BEFORE, (age_s,))).fetchone()
        return 0 if row is None else int(row["ended_index"])

    async def close(self) -> None:
        """Closes the connection, if there is one; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @contextlib.asynccontextmanager
    async def _cursor(self) -> AsyncIterator[psycopg.AsyncCursor[dict[str, Any]]]:
        """For one short use at a time. Whoever only waited in vain closes nothing that another uses."""
        async with asyncio.timeout(TIMEOUT_S), self._lock:
            try:
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, row_factory=dict_row
                    )
                    await migrate(self._connection, COMPONENT, STEPS)
                async with self._connection.cursor() as cursor:
                    yield cursor
            except BaseException:
                await self.close()
                raise


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
        "story": list(record.story),
        "refund": None if record.refund is None else Jsonb(msgspec.structs.asdict(record.refund)),
        "changed_index": record.changed_index,
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


def _record(row: dict[str, Any]) -> OrderRecord:
    return OrderRecord(
        order_id=row["order_id"],
        state=OrderState(row["state"]),
        position=row["position"],
        fingerprint=row["fingerprint"],
        risk_score=row["risk_score"],
        order=None if row["items"] is None else _order(row),
        reasons=tuple(Reason(**reason) for reason in row["reasons"]),
        confirmation_code=row["confirmation_code"],
        ended_index=row["ended_index"],
        story=tuple(row["story"]),
        refund=None if row["refund"] is None else Refund(**row["refund"]),
    )


def _order(row: dict[str, Any]) -> QueuedOrder:
    return QueuedOrder(
        order_id=row["order_id"],
        items=tuple(PricedItem(**item) for item in row["items"]),
        shipping_cents=row["shipping_cents"],
        amount_cents=row["amount_cents"],
        instrument=PaymentInstrument(
            PaymentMethod(row["payment_method"]), row["payment_brand"], row["payment_last_four"]
        ),
        suggested_books=tuple(Book(**book) for book in row["suggested_books"]),
        risk_score=row["risk_score"],
        discount_code=row["discount_code"],
        clock=row["clock"],
        accepted_at_ms=row["accepted_at_ms"],
        customer_hash=row["customer_hash"],
    )


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "message": reason.message, "field": reason.field}


def _item(item: PricedItem) -> dict[str, Any]:
    return {"title": item.title, "quantity": item.quantity, "unit_price_cents": item.unit_price_cents}


def _book(book: Book) -> dict[str, str]:
    return {"book_id": book.book_id, "title": book.title, "author": book.author}
