"""Books and vectors in a real PostgreSQL with pgvector."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import msgspec
import psycopg
import pytest

import suggestions as schema
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
    return [book.title for book in await store.nearest_to_taste(titles, (), 3, timeout_s=5)]


async def test_nearest_to_the_mean_of_the_basket_come_first(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)
    assert await titles_near(store, A.title) == [B.title, C.title, D.title]
    assert await titles_near(store, C.title, D.title) == [B.title, A.title]
    assert await store.nearest_to_taste([A.title], (), 1, timeout_s=5) == (B.book,)


async def test_nothing_is_near_a_basket_without_vectors(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, A, B)
    assert await titles_near(store, C.title) == []
    assert await titles_near(store, "no such book") == []
    assert await titles_near(store, A.title, C.title) == [B.title]


async def test_what_was_bought_says_half_as_much_as_the_basket(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)
    by_past = await store.nearest_to_taste((), [A.title], 3, timeout_s=5)
    assert by_past == (B.book, C.book, D.book)
    # Twice what C says and once what D says points nearer to B than to A.
    assert await store.nearest_to_taste([C.title], [D.title], 3, timeout_s=5) == (B.book, A.book)
    assert await store.nearest_to_taste([A.title], [C.title], 3, timeout_s=5) == (B.book, D.book)
    assert await store.nearest_to_taste([D.title], ["no such book"], 1, timeout_s=5) == (C.book,)


async def test_books_are_found_by_a_vector_and_not_beyond_a_distance(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)

    async def near(distance_max: float, limit: int = 9) -> list[str]:
        vector = direction(2, 0)
        found = await store.nearest_to_vector(vector, limit, distance_max=distance_max, timeout_s=5)
        return [book.title for book in found]

    assert await near(2) == [A.title, B.title, C.title, D.title]
    assert await near(2, limit=2) == [A.title, B.title]
    assert await near(0.5) == [A.title, B.title]


async def test_books_are_found_by_their_words_in_any_form_and_without_accents(store: BookStore) -> None:
    await seed(store, *load_catalogue())

    async def found(text: str) -> list[str]:
        return [book.title for book in await store.by_words(text, 3, timeout_s=5)]

    assert await found("bronte") == ["Jane Eyre", "Wuthering Heights"]
    assert (await found("whales"))[0] == "Moby-Dick"
    # Most of the words, and the title before the description.
    assert (await found("dragons on the moon"))[0] == "The Girl with the Dragon Tattoo"
    assert await found("the and of") == []
    assert await found("'); DROP TABLE prices; -- & | ! <-> :*") == []
    assert await store.count_books(timeout_s=5) == len(load_catalogue())


async def test_words_are_filled_in_where_an_earlier_version_left_none(
    store: BookStore, postgres: PostgresServer
) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        earlier = Path(schema.__file__).with_name("schema.sql").read_text()
        created = earlier[: earlier.index("-- What full-text search compares")]
        connection.execute(created)
        for book in BOOKS:
            connection.execute(
                "INSERT INTO books VALUES (%s, %s, %s, %s, %s, %s)",
                (book.book_id, book.title, book.author, book.year, list(book.subjects), book.description),
            )
    await seed(store, *BOOKS)
    assert await store.by_words("alphabets", 3, timeout_s=5) == (A.book,)


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


async def test_queries_that_are_given_up_at_any_moment_take_no_connection_with_them(store: BookStore) -> None:
    await seed(store, *BOOKS)
    await save(store, *BOOKS)
    random_source = random.Random(1)

    async def give_up() -> None:
        with contextlib.suppress(StoreUnavailableError):
            await store.nearest_to_taste([A.title], (), 3, timeout_s=random_source.uniform(0.0, 0.02))

    async def give_up_often() -> None:
        for _ in range(100):
            await give_up()

    await asyncio.gather(*(give_up_often() for _ in range(12)))
    assert await store.count_books(timeout_s=5) == len(BOOKS)
