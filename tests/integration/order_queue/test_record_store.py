"""Order records in a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from order_queue import record_store
from order_queue.commands import Command, CompleteRefund, encode
from order_queue.order_record import OrderRecord
from order_queue.record_store import RecordStore
from tests.support.postgres import PostgresServer
from tests.unit.order_queue import words
from utils.clocks.story import unpack


def ended(*numbers: int) -> list[OrderRecord]:
    """Records of approved (odd numbers) and rejected (even numbers) orders."""
    machine = words.machine()
    for index, number in enumerate(numbers, 1):
        machine.apply(index, encode(words.enqueue(number)))
    results = [words.approved(number) if number % 2 else words.rejected(number) for number in numbers]
    machine.apply(len(numbers) + 1, encode(words.complete(*results)))
    return machine.first_unrecorded(len(numbers))


def rows(postgres: PostgresServer) -> list[dict[str, Any]]:
    with psycopg.connect(postgres.dsn, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM order_records ORDER BY order_id").fetchall()


async def test_an_order_is_kept_with_all_that_is_known_of_it(postgres: PostgresServer) -> None:
    store = RecordStore(postgres.dsn)
    await store.write(ended(1, 2))
    await store.close()
    approved, rejected = rows(postgres)
    recorded_at = approved.pop("recorded_at")
    assert [unpack(event).name for event in approved.pop("story")] == ["enqueued", "completed"]
    assert (datetime.now(UTC) - recorded_at).total_seconds() < 60
    assert approved == {
        "order_id": words.order_id(1),
        "state": "approved",
        "position": 1,
        "ended_index": 3,
        "fingerprint": words.fingerprint(1),
        "risk_score": 12,
        "reasons": [],
        "confirmation_code": "CODE-1",
        "items": [{"title": "Book A", "quantity": 1, "unit_price_cents": 1_250}],
        "shipping_cents": 499,
        "amount_cents": 1_749,
        "payment_method": "card",
        "payment_brand": "visa",
        "payment_last_four": "1111",
        "suggested_books": [{"book_id": "book-b", "title": "Book B", "author": "B. Author"}],
        "discount_code": "",
        "clock": {"transaction_verification": 3, "fraud_detection": 2, "suggestions": 1},
        "customer_hash": "c0ffee00" * 4,
        "accepted_at": datetime.fromtimestamp(1_900_000_000, UTC),
        "refund": None,
        "changed_index": 3,
    }
    assert rejected["state"] == "rejected"
    assert [reason["code"] for reason in rejected["reasons"]] == ["out_of_stock"]


async def test_a_rejection_by_verification_is_kept_without_an_order(postgres: PostgresServer) -> None:
    machine = words.machine()
    machine.apply(1, encode(words.rejection(7)))
    store = RecordStore(postgres.dsn)
    await store.write(machine.first_unrecorded(1))
    await store.close()
    [row] = rows(postgres)
    assert (row["state"], row["reasons"][0]["code"]) == ("rejected", "card_number_invalid")
    assert row["items"] is row["amount_cents"] is row["accepted_at"] is None


async def test_what_was_written_can_be_read(postgres: PostgresServer) -> None:
    records = ended(1, 2)
    machine = words.machine()
    machine.apply(1, encode(words.rejection(7)))
    records += machine.first_unrecorded(1)
    store = RecordStore(postgres.dsn)
    await store.write(records)
    assert [await store.read(record.order_id) for record in records] == records
    assert await store.read(words.order_id(99)) is None
    await store.close()


async def test_a_refund_is_written_over_what_was_there_and_nothing_older_over_it(postgres: PostgresServer) -> None:
    machine = words.machine()
    refund = words.request_refund(1)
    versions: list[OrderRecord] = []
    history: list[Command] = [words.enqueue(1), words.complete(words.approved(1)), refund]
    for index, command in enumerate([*history, CompleteRefund(words.order_id(1), "REF-1")], 1):
        machine.apply(index, encode(command))
        versions += machine.first_unrecorded(1)
    store = RecordStore(postgres.dsn)
    await store.write(versions)
    assert await store.read(words.order_id(1)) == versions[-1]
    # A leader that was stopped for long comes back.
    for older in versions[:-1]:
        await store.write([older])
        assert await store.read(words.order_id(1)) == versions[-1]
    await store.close()


async def test_it_tells_what_was_written_long_enough_ago(postgres: PostgresServer) -> None:
    store = RecordStore(postgres.dsn)
    assert await store.recorded_before(0) == 0
    await store.write(ended(1, 2))
    assert await store.recorded_before(0) == 3
    assert await store.recorded_before(3_600) == 0
    await store.close()


async def test_readers_share_a_connection_in_turn(postgres: PostgresServer) -> None:
    store = RecordStore(postgres.dsn)
    records = ended(*range(1, 30))
    await store.write(records)
    assert await asyncio.gather(*(store.read(record.order_id) for record in records)) == records
    await store.close()


async def test_writing_again_changes_nothing(postgres: PostgresServer) -> None:
    store = RecordStore(postgres.dsn)
    await store.write(ended(1))
    first = rows(postgres)
    await store.write(ended(1))
    await store.write(ended(1, 2))
    await store.close()
    assert rows(postgres)[0] == first[0]
    assert len(rows(postgres)) == 2


async def test_two_writers_of_the_same_records_do_not_disturb_each_other(postgres: PostgresServer) -> None:
    """As for a moment when the queue's leader changes."""
    first, second = RecordStore(postgres.dsn), RecordStore(postgres.dsn)
    await first.write(ended(1))
    records = ended(*range(1, 100))
    await asyncio.gather(first.write(records), second.write(records))
    await asyncio.gather(first.close(), second.close())
    assert len(rows(postgres)) == 99


async def test_a_batch_is_written_whole_or_not_at_all(postgres: PostgresServer) -> None:
    [good, bad] = ended(1, 3)
    broken = OrderRecord(bad.order_id, bad.state, position=2**70, fingerprint=bad.fingerprint)
    store = RecordStore(postgres.dsn)
    with pytest.raises(psycopg.Error):
        await store.write([good, broken])
    assert rows(postgres) == []
    await store.write([good])
    await store.close()
    assert len(rows(postgres)) == 1


async def test_it_survives_a_restart_of_postgresql(postgres: PostgresServer) -> None:
    store = RecordStore(postgres.dsn)
    await store.write(ended(1))
    postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        await store.write(ended(2))
    with pytest.raises(psycopg.OperationalError):
        await store.write(ended(2))
    postgres.start()
    await store.write(ended(2))
    await store.close()
    assert len(rows(postgres)) == 2


@pytest.mark.slow  # psycopg gives a query that hangs 10 s to be cancelled
async def test_a_postgresql_that_hangs_holds_nobody_for_ever(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordStore(postgres.dsn)
    await store.write(ended(1))
    monkeypatch.setattr(record_store, "TIMEOUT_S", 0.3)
    postgres.pause()
    try:
        with pytest.raises(TimeoutError):
            await store.write(ended(2))
    finally:
        postgres.resume()
    monkeypatch.undo()
    await store.write(ended(2))
    await store.close()
    assert len(rows(postgres)) == 2


async def test_a_reader_that_waits_in_vain_takes_nobodys_connection_away(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordStore(postgres.dsn)
    await store.write(ended(1))
    async with store._cursor() as cursor:
        monkeypatch.setattr(record_store, "TIMEOUT_S", 0.05)
        with pytest.raises(TimeoutError):
            await store.read(words.order_id(1))
        assert await (await cursor.execute("SELECT 1")).fetchone() is not None
    await store.close()
