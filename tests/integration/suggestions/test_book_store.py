"""Books and vectors in a real PostgreSQL with pgvector."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import msgspec
import psycopg
import pytest

from suggestions.book_store import BookStore, StoreUnavailableError, digest_of, text_of
from suggestions.encoder import DIMENSIONS
from tests.support.postgres import PostgresServer
from utils.catalogue import CatalogueBook, load_catalogue

BOOKS = load_catalogue()[:4]
A, B, C, D = BOOKS


def direction(*numbers: float) -> list[float]:
    return [*numbers, *[0.0] * (DIMENSIONS - len(numbers))]


VECTORS = {A: direction(1, 0), B: direction(0.9, 0.1), C: direction(0, 1), D: direction(-1, 0)}


@pytest.fixture
async def store(postgres: PostgresServer) -> AsyncIterator[BookStore]:
    store = BookStore(postgres.dsn)
    await store.open()
    yield store
    await store.close()


async def seed(store: BookStore, *books: CatalogueBook) -> None:
    await store.seed(books, timeout_s=20)


async def save(store: BookStore, *books: CatalogueBook) -> None:
    for book in books:
        await store.save_vector(book, VECTORS[book], timeout_s=5)


async def titles_near(store: BookStore, *titles: str) -> list[str]:
    return [book.title for book in await store.nearest(titles, 3, timeout_s=5)]


async def test_nearest_to_the_mean_of_the_basket_come_first(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)
    assert await titles_near(store, A.title) == [B.title, C.title, D.title]
    assert await titles_near(store, C.title, D.title) == [B.title, A.title]
    assert await store.nearest([A.title], 1, timeout_s=5) == (B.book,)


async def test_nothing_is_near_a_basket_without_vectors(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, A, B)
    assert await titles_near(store, C.title) == []
    assert await titles_near(store, "no such book") == []
    assert await titles_near(store, A.title, C.title) == [B.title]


async def test_vectors_stay_when_the_catalogue_is_seeded_again(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)
    await seed(store, *BOOKS)
    assert await store.digests(timeout_s=5) == {book.book_id: digest_of(text_of(book)) for book in BOOKS}


async def test_books_follow_the_catalogue(store: BookStore, postgres: PostgresServer) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)
    # D is gone, A and B have swapped their titles, C has another description.
    renamed = (msgspec.structs.replace(A, title=B.title), msgspec.structs.replace(B, title=A.title))
    changed = msgspec.structs.replace(C, description="Another description that is long enough to be one.")
    await seed(store, *renamed, changed)
    with psycopg.connect(postgres.dsn) as connection:
        rows = connection.execute("SELECT book_id, title, description FROM books ORDER BY book_id").fetchall()
    assert rows == [(book.book_id, book.title, book.description) for book in (*renamed, changed)]
    assert await store.count_books(timeout_s=5) == 3
    stored = await store.digests(timeout_s=5)
    assert D.book_id not in stored
    assert stored[C.book_id] != digest_of(text_of(changed))


async def test_replicas_may_seed_at_the_same_time(postgres: PostgresServer) -> None:
    stores = [BookStore(postgres.dsn) for _ in range(4)]
    try:
        for store in stores:
            await store.open()
        await asyncio.gather(*(seed(store, *BOOKS) for store in stores))
        assert await stores[0].count_books(timeout_s=5) == len(BOOKS)
    finally:
        for store in stores:
            await store.close()


async def test_server_that_is_away_or_hangs_is_unavailable_in_time_and_found_again(
    store: BookStore, postgres: PostgresServer
) -> None:
    await seed(store, *BOOKS)
    loop = asyncio.get_running_loop()

    async def unavailable() -> None:
        started_at = loop.time()
        with pytest.raises(StoreUnavailableError):
            await store.count_books(timeout_s=0.3)
        assert loop.time() - started_at < 1

    async def found_again() -> None:
        deadline = loop.time() + 10
        while loop.time() < deadline:
            try:
                assert await store.count_books(timeout_s=0.3) == len(BOOKS)
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return
        pytest.fail("the store did not find its server again")

    postgres.stop()
    await unavailable()
    postgres.start()
    await found_again()
    postgres.pause()
    for _ in range(3):
        await unavailable()
    postgres.resume()
    await found_again()


async def test_query_may_be_cancelled(store: BookStore) -> None:
    await seed(store, *BOOKS)
    query = asyncio.create_task(store.count_books(timeout_s=5))
    await asyncio.sleep(0)
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    assert await store.count_books(timeout_s=5) == len(BOOKS)


def test_texts_of_all_books_differ() -> None:
    digests = sorted(digest_of(text_of(book)) for book in load_catalogue())
    assert all(one != other for one, other in pairwise(digests))
