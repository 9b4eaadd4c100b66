"""Books and their vectors in PostgreSQL with pgvector."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from suggestions.encoder import MODEL
from utils.catalogue import CatalogueBook
from utils.domain.order import Book

_SCHEMA: Final = Path(__file__).with_name("schema.sql")
# An arbitrary number that everybody who creates these tables agrees on: CREATE ... IF NOT EXISTS alone is a race.
_SCHEMA_LOCK: Final = 7_402_115
_CONNECTIONS_MAX: Final = 2
# Also of waiting for a free connection. psycopg takes whole seconds, and no fewer than two.
_CONNECT_TIMEOUT_S: Final = 2
# The pool doubles the pause between its attempts: an attempt that is new again finds a server that is back sooner.
_RECONNECT_TIMEOUT_S: Final = 2.0
# What was sent is acknowledged within this time, or the machine is gone and the connection with it.
_TCP_USER_TIMEOUT_MS: Final = 5_000

_CLOSE_TIMEOUT_S: Final = 1.0

_T = TypeVar("_T")
_Connection = psycopg.AsyncConnection[TupleRow]

# The indexer says once that the database is away, and not with each attempt to connect.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

_NEAREST = """
    WITH basket AS (
        SELECT avg(embedding) AS centre
        FROM book_embeddings JOIN books USING (book_id)
        WHERE model = %(model)s AND title = ANY(%(titles)s)
    )
    SELECT book_id, title, author
    FROM book_embeddings JOIN books USING (book_id), basket
    WHERE model = %(model)s AND title <> ALL(%(titles)s) AND centre IS NOT NULL
    ORDER BY embedding <=> centre, book_id
    LIMIT %(limit)s
"""

_UPSERT_BOOK = """
    INSERT INTO books AS old (book_id, title, author, year, subjects, description)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (book_id) DO UPDATE
    SET (title, author, year, subjects, description)
        = (excluded.title, excluded.author, excluded.year, excluded.subjects, excluded.description)
    WHERE (old.title, old.author, old.year, old.subjects, old.description) IS DISTINCT FROM
        (excluded.title, excluded.author, excluded.year, excluded.subjects, excluded.description)
"""

_UPSERT_VECTOR = """
    INSERT INTO book_embeddings (book_id, model, text_sha256, embedding) VALUES (%s, %s, %s, %s::vector)
    ON CONFLICT (book_id, model) DO UPDATE
    SET (text_sha256, embedding) = (excluded.text_sha256, excluded.embedding)
"""


class StoreUnavailableError(Exception):
    """PostgreSQL did not answer, or not in time."""


def text_of(book: CatalogueBook) -> str:
    """What a book's vector is computed from."""
    return f"{book.title} by {book.author}. {book.description}"


def digest_of(text: str) -> bytes:
    """Tells whether a stored vector still belongs to its book's text."""
    return hashlib.sha256(text.encode()).digest()


class BookStore:
    """A small pool of connections; belongs to one event loop. Every method raises StoreUnavailableError."""

    def __init__(self, database_url: str) -> None:
        settings: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _TCP_USER_TIMEOUT_MS,
            "application_name": "suggestions",
        }
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            database_url,
            kwargs=settings,
            min_size=1,
            max_size=_CONNECTIONS_MAX,
            reconnect_timeout=_RECONNECT_TIMEOUT_S,
            open=False,
        )
        self._queries: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connects in the background, now and whenever a connection is lost."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        for task in self._queries:
            task.cancel()
        await self._pool.close(timeout=_CLOSE_TIMEOUT_S)

    async def seed(self, catalogue: Sequence[CatalogueBook], *, timeout_s: float) -> None:
        """Makes the tables, and the books as the catalogue has them; vectors whose text is the same stay."""

        async def run(connection: _Connection) -> None:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
                await connection.execute(_SCHEMA.read_bytes())
                await connection.execute(
                    "DELETE FROM books WHERE book_id <> ALL(%s)", ([book.book_id for book in catalogue],)
                )
                await connection.cursor().executemany(
                    _UPSERT_BOOK,
                    [
                        (book.book_id, book.title, book.author, book.year, list(book.subjects), book.description)
                        for book in catalogue
                    ],
                )

        await self._with_connection(run, timeout_s)

    async def count_books(self, *, timeout_s: float) -> int:
        """How many books the database has."""

        async def run(connection: _Connection) -> int:
            row = await (await connection.execute("SELECT count(*) FROM books")).fetchone()
            assert row is not None
            count: int = row[0]
            return count

        return await self._with_connection(run, timeout_s)

    async def digests(self, *, timeout_s: float) -> dict[str, bytes]:
        """book_id to the digest of the text that its stored vector was computed from."""

        async def run(connection: _Connection) -> dict[str, bytes]:
            cursor = await connection.execute(
                "SELECT book_id, text_sha256 FROM book_embeddings WHERE model = %s", (MODEL,)
            )
            return {book_id: bytes(digest) for book_id, digest in await cursor.fetchall()}

        return await self._with_connection(run, timeout_s)

    async def save_vector(self, book: CatalogueBook, vector: Sequence[float], *, timeout_s: float) -> None:
        """Keeps a book's vector."""
        row = (book.book_id, MODEL, digest_of(text_of(book)), str(list(vector)))

        async def run(connection: _Connection) -> None:
            await connection.execute(_UPSERT_VECTOR, row)

        await self._with_connection(run, timeout_s)

    async def nearest(self, titles: Sequence[str], limit: int, *, timeout_s: float) -> tuple[Book, ...]:
        """The books nearest to the mean vector of `titles`, by cosine, nearest first; without `titles` themselves.

        Empty where none of `titles` has a vector yet.
        """

        async def run(connection: _Connection) -> tuple[Book, ...]:
            cursor = await connection.execute(_NEAREST, {"model": MODEL, "titles": list(titles), "limit": limit})
            return tuple(Book(*row) for row in await cursor.fetchall())

        return await self._with_connection(run, timeout_s)

    async def _with_connection(self, run: Callable[[_Connection], Awaitable[_T]], timeout_s: float) -> _T:
        async def query() -> _T:
            async with self._pool.connection(timeout=min(timeout_s, _CONNECT_TIMEOUT_S)) as connection:
                return await run(connection)

        # In a task of its own: psycopg answers a cancellation by asking the server to cancel, and waits for that.
        task = asyncio.create_task(query())
        self._queries.add(task)
        task.add_done_callback(self._end_query)
        try:
            done, _ = await asyncio.wait((task,), timeout=timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise StoreUnavailableError(f"PostgreSQL did not answer within {timeout_s} s")
        try:
            return task.result()
        except (psycopg.Error, PoolTimeout) as error:
            raise StoreUnavailableError(str(error)) from error

    def _end_query(self, task: "asyncio.Task[Any]") -> None:
        self._queries.discard(task)
        if not task.cancelled():
            # Somebody who gave up does not read it.
            task.exception()
