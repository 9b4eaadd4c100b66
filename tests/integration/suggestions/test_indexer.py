"""The catalogue reaches PostgreSQL whenever that is there; vectors are computed once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from suggestions.book_store import BookStore, digest_of, text_of
from suggestions.encoder import DIMENSIONS, Encoder, EncoderError
from suggestions.indexer import Indexer
from tests.support.postgres import PostgresServer
from utils.catalogue import CatalogueBook, load_catalogue

BOOKS = load_catalogue()[:5]


class CountingEncoder:
    """Fast, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.opened = 0

    async def load(self) -> Encoder:
        self.opened += 1
        return self

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts += texts
        return [[float(len(text)), 1.0, *[0.0] * (DIMENSIONS - 2)] for text in texts]


class Heard:
    """What the indexer said last, and a way to wait for it."""

    def __init__(self) -> None:
        self.has_books: bool | None = None
        self.indexed = asyncio.Event()
        self._said = asyncio.Condition()

    async def on_books(self, has_books: bool) -> None:
        async with self._said:
            self.has_books = has_books
            self._said.notify_all()

    async def on_vectors(self, complete: bool) -> None:
        if complete:
            self.indexed.set()
        else:
            self.indexed.clear()

    async def books(self, has_books: bool) -> None:
        async with asyncio.timeout(20), self._said:
            await self._said.wait_for(lambda: self.has_books is has_books)


@asynccontextmanager
async def running(
    postgres: PostgresServer, load_encoder: Callable[[], Awaitable[Encoder]], books: Sequence[CatalogueBook] = BOOKS
) -> AsyncIterator[tuple[Heard, BookStore]]:
    store, heard = BookStore(postgres.dsn), Heard()
    await store.open()
    indexer = Indexer(store, books, load_encoder, on_books=heard.on_books, on_vectors=heard.on_vectors)
    task = asyncio.create_task(indexer.run())
    try:
        yield heard, store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def test_vectors_are_computed_once_and_again_only_for_a_changed_text(postgres: PostgresServer) -> None:
    encoder = CountingEncoder()
    async with running(postgres, encoder.load) as (heard, store), asyncio.timeout(20):
        await heard.indexed.wait()
        assert encoder.texts == [text_of(book) for book in BOOKS]
        assert await store.digests(timeout_s=5) == {book.book_id: digest_of(text_of(book)) for book in BOOKS}

    # At the next start one book has another description, and one is new.
    changed = msgspec.structs.replace(BOOKS[0], description="Another description that is long enough to be one.")
    new = load_catalogue()[5]
    encoder.texts.clear()
    async with running(postgres, encoder.load, (changed, *BOOKS[1:], new)) as (heard, store), asyncio.timeout(20):
        await heard.indexed.wait()
        assert encoder.texts == [text_of(changed), text_of(new)]


async def test_encoder_is_not_loaded_when_every_vector_is_there(postgres: PostgresServer) -> None:
    encoder = CountingEncoder()
    async with running(postgres, encoder.load) as (heard, _store), asyncio.timeout(20):
        await heard.indexed.wait()
    async with running(postgres, encoder.load) as (heard, _store), asyncio.timeout(20):
        await heard.indexed.wait()
    assert encoder.opened == 1


async def test_books_are_there_before_their_vectors(postgres: PostgresServer) -> None:
    class Failing:
        async def load(self) -> Encoder:
            raise EncoderError("no weights")

    async with running(postgres, Failing().load) as (heard, store):
        await heard.books(True)
        assert await store.count_books(timeout_s=5) == len(BOOKS)
        assert await store.digests(timeout_s=5) == {}
        assert not heard.indexed.is_set()


async def test_absence_and_return_of_the_database_are_told(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suggestions.indexer.CHECK_INTERVAL_S", 0.1)
    postgres.stop()
    async with running(postgres, CountingEncoder().load) as (heard, store):
        await heard.books(False)
        postgres.start()
        await heard.books(True)
        async with asyncio.timeout(20):
            await heard.indexed.wait()
        postgres.stop()
        await heard.books(False)
        assert not heard.indexed.is_set()
        postgres.start()
        await heard.books(True)
        assert await store.count_books(timeout_s=5) == len(BOOKS)


async def test_books_that_somebody_deletes_come_back(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suggestions.indexer.CHECK_INTERVAL_S", 0.1)
    async with running(postgres, CountingEncoder().load) as (heard, store):
        await heard.books(True)
        other = BookStore(postgres.dsn)
        await other.open()
        await other.seed(BOOKS[:1], timeout_s=5)
        await other.close()
        await heard.books(False)
        await heard.books(True)
        assert await store.count_books(timeout_s=5) == len(BOOKS)
