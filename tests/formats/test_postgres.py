"""The tables in a real PostgreSQL: made once, brought from version to version, and left alone by an earlier program."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from order_queue import record_store
from order_queue.record_store import RecordStore
from suggestions import book_store
from suggestions.book_store import BookStore, StoreUnavailableError
from tests.formats.written import GOLDEN, STEPS, ended_orders, written_rows
from tests.support.postgres import PostgresServer, running_postgres
from utils.schema import migrate

# By version.
ROWS = {int(path.stem.rpartition("-")[2]): json.loads(path.read_text()) for path in GOLDEN.glob("order_records-*.json")}


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


def versions(postgres: PostgresServer) -> list[Any]:
    with psycopg.connect(postgres.dsn) as connection:
        return connection.execute("SELECT component, version FROM schema_versions ORDER BY 1, 2").fetchall()


async def test_rows_are_written_as_the_golden_file_has_them(postgres: PostgresServer) -> None:
    for name, data in (await written_rows(postgres.dsn)).items():
        assert (GOLDEN / name).read_bytes() == data, f"{name} has other rows than before: they need the next version"


@pytest.mark.parametrize(("version", "rows"), ROWS.items())
@pytest.mark.parametrize("is_recorded", [False, True], ids=["before versions were recorded", "with its version"])
async def test_rows_of_every_version_are_read(
    postgres: PostgresServer, version: int, rows: list[Any], is_recorded: bool
) -> None:
    connection = await psycopg.AsyncConnection.connect(postgres.dsn, autocommit=True)
    if is_recorded:
        steps = [(GOLDEN / f"order_records-{number}.sql").read_bytes() for number in range(1, version + 1)]
        await migrate(connection, record_store.COMPONENT, steps)
    else:
        await connection.execute((GOLDEN / "order_records-1.sql").read_bytes())
    for row in rows:
        insert = "INSERT INTO order_records SELECT * FROM jsonb_populate_record(NULL::order_records, %s)"
        await connection.execute(insert, (json.dumps({**row, "recorded_at": "2026-01-01T00:00:00Z"}),))
    await connection.close()
    store = RecordStore(postgres.dsn)
    records = ended_orders()
    assert [await store.read(record.order_id) for record in records] == records
    await store.close()
    assert versions(postgres) == [("order_records", number) for number in range(1, len(record_store.STEPS) + 1)]


async def test_many_who_connect_at_once_run_each_step_once(postgres: PostgresServer) -> None:
    async def connect_and_migrate() -> None:
        connection = await psycopg.AsyncConnection.connect(postgres.dsn, autocommit=True)
        async with connection:
            await migrate(connection, "steps", (b"CREATE TABLE t (n int)", b"INSERT INTO t VALUES (1)"))

    await asyncio.gather(*(connect_and_migrate() for _ in range(8)))
    with psycopg.connect(postgres.dsn) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]
    assert versions(postgres) == [("steps", 1), ("steps", 2)]


async def test_a_step_that_fails_leaves_the_version_before_it(postgres: PostgresServer) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.dsn, autocommit=True) as connection:
        await migrate(connection, "steps", (b"CREATE TABLE t (n int)",))
        with pytest.raises(psycopg.errors.UndefinedTable):
            await migrate(connection, "steps", (b"", b"INSERT INTO t VALUES (1)", b"INSERT INTO nowhere VALUES (1)"))
        assert await (await connection.execute("SELECT n FROM t")).fetchall() == []
    assert versions(postgres) == [("steps", 1)]


async def test_tables_of_a_later_version_are_left_alone(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        for name, steps in STEPS.items():
            connection.execute("CREATE TABLE IF NOT EXISTS schema_versions (component text, version int)")
            connection.execute("INSERT INTO schema_versions VALUES (%s, %s)", (name, len(steps) + 1))
    records = RecordStore(postgres.dsn)
    with pytest.raises(psycopg.NotSupportedError, match=r"schema_versions .* order_records of format 3 cannot be read"):
        await records.write(ended_orders())
    await records.close()
    books = BookStore(postgres.dsn)
    await books.open()
    with pytest.raises(StoreUnavailableError, match=f"{book_store.COMPONENT} of format 2 cannot be read"):
        await books.seed((), timeout_s=20)
    await books.close()
    with psycopg.connect(postgres.dsn) as connection:
        found = connection.execute("SELECT to_regclass('order_records'), to_regclass('books')").fetchone()
    assert found == (None, None)
