"""Books, their words and their vectors in PostgreSQL with pgvector; and what a customer has bought before."""

import asyncio
import hashlib
import logging
import unicodedata
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from suggestions.encoder import MODEL
from suggestions.queries import (
    BOUGHT,
    BY_WORDS,
    NEAREST_TO_TASTE,
    NEAREST_TO_VECTOR,
    SESSION,
    UPSERT_BOOK,
    UPSERT_VECTOR,
)
from utils.catalogue import CatalogueBook
from utils.domain.order import Book
from utils.schema import migrate

COMPONENT: Final = "books"
# See utils.schema.
STEPS: Final = (Path(__file__).with_name("schema.sql").read_bytes(),)
_CONNECTIONS_MAX: Final = 2
# Also of waiting for a free connection. psycopg takes whole seconds, and no fewer than two.
_CONNECT_TIMEOUT_S: Final = 2
# The pool doubles the pause between its attempts: an attempt that is new again finds a server that is back sooner.
_RECONNECT_TIMEOUT_S: Final = 2.0
# What was sent is acknowledged within this time, and so is a question whether the machine is still there: or it is
# gone, and the connection with it.
_SILENCE = {"tcp_user_timeout": 5_000, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3}
# Who comes later is told at once that there is no connection.
_WAITING_MAX: Final = 100

_CLOSE_TIMEOUT_S: Final = 1.0
# Of one customer: who buys more has shown enough of his taste by the latest.
_ORDERS_MAX: Final = 50

_T = TypeVar("_T")
_Connection = psycopg.AsyncConnection[TupleRow]

# The indexer says once that the database is away, and not with each attempt to connect.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


class StoreUnavailableError(Exception):
    """PostgreSQL did not answer, or not in time."""


def text_of(book: CatalogueBook) -> str:
    """What a book's vector is computed from."""
    return f"{book.title} by {book.author}. {', '.join(book.subjects)}. {book.description}"


def digest_of(text: str) -> bytes:
    """Tells whether a stored vector still belongs to its book's text."""
    return hashlib.sha256(text.encode()).digest()


def without_accents(text: str) -> str:
    """What words are compared by: "Brontë" is found by "bronte"."""
    return "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))


class BookStore:
    """A small pool of connections; belongs to one event loop. Every method raises StoreUnavailableError."""

    def __init__(self, database_url: str) -> None:
        settings: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            **_SILENCE,
            "application_name": "suggestions",
            "options": SESSION,
        }
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            database_url,
            kwargs=settings,
            min_size=1,
            max_size=_CONNECTIONS_MAX,
            max_waiting=_WAITING_MAX,
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
                # Others that seed wait for the end of this transaction, too.
                await migrate(connection, COMPONENT, STEPS)
                await connection.execute(
                    "DELETE FROM books WHERE book_id <> ALL(%s)", ([book.book_id for book in catalogue],)
                )
                await connection.cursor().executemany(UPSERT_BOOK, [_row(book) for book in catalogue])

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
            await connection.execute(UPSERT_VECTOR, row)

        await self._with_connection(run, timeout_s)

    async def nearest_to_taste(
        self, basket: Collection[str], bought: Collection[str], limit: int, *, timeout_s: float
    ) -> tuple[Book, ...]:
        """The books nearest to what the titles in `basket` and `bought` have in common; without these themselves.

        Empty where none of them has a vector yet.
        """
        named = {"model": MODEL, "basket": list(basket), "bought": list(bought), "limit": limit}
        return await self._books(NEAREST_TO_TASTE, named, timeout_s)

    async def nearest_to_vector(
        self, vector: Sequence[float], limit: int, *, distance_max: float, timeout_s: float
    ) -> tuple[Book, ...]:
        """The books whose vectors are at most `distance_max` (1 less the cosine) away, nearest first."""
        named = {"model": MODEL, "vector": str(list(vector)), "limit": limit, "distance_max": distance_max}
        return await self._books(NEAREST_TO_VECTOR, named, timeout_s)

    async def by_words(self, text: str, limit: int, *, timeout_s: float) -> tuple[Book, ...]:
        """The books that hold words of `text` in any of their forms, those that hold most of them first."""
        return await self._books(BY_WORDS, {"words": without_accents(text), "limit": limit}, timeout_s)

    async def bought(self, customer_hash: str, *, timeout_s: float) -> frozenset[str]:
        """The titles in a customer's latest approved orders, as far as they are recorded."""

        async def run(connection: _Connection) -> frozenset[str]:
            try:
                cursor = await connection.execute(BOUGHT, {"customer_hash": customer_hash, "orders": _ORDERS_MAX})
            except psycopg.errors.UndefinedTable:
                # No order has ended in this shop yet.
                return frozenset()
            return frozenset(title for (title,) in await cursor.fetchall())

        return await self._with_connection(run, timeout_s)

    async def _books(self, query: str, named: dict[str, Any], timeout_s: float) -> tuple[Book, ...]:
        async def run(connection: _Connection) -> tuple[Book, ...]:
            cursor = await connection.execute(query, named)
            return tuple(Book(*row) for row in await cursor.fetchall())

        return await self._with_connection(run, timeout_s)

    async def _with_connection(self, run: Callable[[_Connection], Awaitable[_T]], timeout_s: float) -> _T:
        async def query() -> _T:
            async with self._pool.connection(timeout=min(timeout_s, _CONNECT_TIMEOUT_S)) as connection:
                return await run(connection)

        # In a task of its own, which goes on when nobody waits for it any more, for as long as the server lets a
        # statement run: whoever is cancelled while the pool hands a connection out or takes it back loses it for ever.
        task = asyncio.create_task(query())
        self._queries.add(task)
        task.add_done_callback(self._end_query)
        done, _ = await asyncio.wait((task,), timeout=timeout_s)
        if not done:
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


def _row(book: CatalogueBook) -> dict[str, Any]:
    return {
        "book_id": book.book_id,
        "title": book.title,
        "author": book.author,
        "year": book.year,
        "subjects": list(book.subjects),
        "description": book.description,
        "title_words": without_accents(book.title),
        "author_words": without_accents(book.author),
        "subject_words": without_accents(" ".join(book.subjects)),
        "description_words": without_accents(book.description),
    }
