"""What a customer bought before, from the records that the order queue itself writes."""

from collections.abc import AsyncIterator

import msgspec
import psycopg
import pytest

from order_queue.order_record import OrderRecord, OrderState
from order_queue.record_store import RecordStore
from suggestions import book_store as module
from suggestions.book_store import BookStore
from tests.support.postgres import PostgresServer
from tests.unit.order_queue import words
from utils.domain.order import PricedItem

ADA, BOB = "a" * 32, "b" * 32


@pytest.fixture
async def store(postgres: PostgresServer) -> AsyncIterator[BookStore]:
    store = BookStore(postgres.dsn)
    await store.open()
    yield store
    await store.close()


def ended(number: int, customer_hash: str, *titles: str, approved: bool = True) -> OrderRecord:
    items = tuple(PricedItem(title, 1, 999) for title in titles)
    order = msgspec.structs.replace(words.order(number), customer_hash=customer_hash, items=items)
    state = OrderState.APPROVED if approved else OrderState.REJECTED
    return OrderRecord(
        words.order_id(number), state, number, words.fingerprint(number), order=order, ended_index=100 + number
    )


def rejected_by_verification(number: int) -> OrderRecord:
    return OrderRecord(words.order_id(number), OrderState.REJECTED, number, words.fingerprint(number))


async def write(postgres: PostgresServer, *records: OrderRecord) -> None:
    store = RecordStore(postgres.dsn)
    await store.write(records)
    await store.close()


async def test_titles_of_approved_orders_of_the_same_customer(store: BookStore, postgres: PostgresServer) -> None:
    assert await store.bought(ADA, timeout_s=5) == frozenset()
    await write(
        postgres,
        ended(1, ADA, "Dune", "Emma"),
        ended(2, ADA, "Emma", "1984"),
        ended(3, ADA, "Hamlet", approved=False),
        ended(4, BOB, "Faust"),
        rejected_by_verification(5),
    )
    assert await store.bought(ADA, timeout_s=5) == {"Dune", "Emma", "1984"}
    assert await store.bought(BOB, timeout_s=5) == {"Faust"}
    assert await store.bought("c" * 32, timeout_s=5) == frozenset()


async def test_only_the_latest_orders_are_read(
    store: BookStore, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ORDERS_MAX", 2)
    await write(postgres, ended(1, ADA, "Dune"), ended(3, ADA, "Emma"), ended(2, ADA, "1984"))
    assert await store.bought(ADA, timeout_s=5) == {"Emma", "1984"}


async def test_table_of_an_earlier_version_gets_its_index(postgres: PostgresServer) -> None:
    await write(postgres, ended(1, ADA, "Dune"))
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("DROP INDEX order_records_by_customer")
        connection.execute("ALTER TABLE order_records DROP COLUMN refund, DROP COLUMN changed_index")
        connection.execute("DROP TABLE schema_versions")
    await write(postgres, ended(2, ADA, "Emma"))
    with psycopg.connect(postgres.dsn) as connection:
        found = connection.execute("SELECT 1 FROM pg_indexes WHERE indexname = 'order_records_by_customer'").fetchall()
    assert found
