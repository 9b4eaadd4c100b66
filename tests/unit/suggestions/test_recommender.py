"""One query for each basket; an order never fails or waits because of PostgreSQL."""

import asyncio
from collections.abc import Sequence

import pytest

from suggestions import recommender as module
from suggestions.book_store import StoreUnavailableError
from suggestions.recommender import Recommender
from utils.catalogue import load_catalogue
from utils.domain.order import Book

CATALOGUE = load_catalogue()
NEAREST = (Book("x", "X", "Somebody"),)


class FakeStore:
    """Answers when told to; can be away."""

    def __init__(self, books: tuple[Book, ...] = NEAREST) -> None:
        self.books = books
        self.away = False
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def nearest(self, titles: Sequence[str], limit: int, *, timeout_s: float) -> tuple[Book, ...]:
        self.asked.append((tuple(titles), limit))
        await self.answering.wait()
        if self.away:
            raise StoreUnavailableError("away")
        return self.books


async def test_nearest_books_come_from_vectors_and_are_asked_for_once() -> None:
    store = FakeStore()
    recommender = Recommender(store, CATALOGUE)
    answers = [await recommender.suggest(titles, 3) for titles in (["Dune", "1984"], ["1984", "Dune", "Dune"])]
    assert [(answer.books, answer.source) for answer in answers] == [(NEAREST, "vectors")] * 2
    assert store.asked == [(("1984", "Dune"), 3)]
    await recommender.suggest(["Dune"], 3)
    await recommender.suggest(["1984", "Dune"], 4)
    assert len(store.asked) == 3


async def test_orders_at_the_same_time_share_one_query_and_one_may_leave() -> None:
    store = FakeStore()
    store.answering.clear()
    recommender = Recommender(store, CATALOGUE)
    first, second = (asyncio.create_task(recommender.suggest(["Dune"], 3)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    store.answering.set()
    assert (await second).source == "vectors"
    assert first.cancelled()
    assert len(store.asked) == 1


async def test_store_that_is_away_is_no_failure_and_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    store.away = True
    recommender = Recommender(store, CATALOGUE)
    for title in ("Dune", "1984", "Emma"):
        answer = await recommender.suggest([title], 3)
        assert (answer.source, len(answer.books)) == ("static", 3)
        assert title not in [book.title for book in answer.books]
    assert len(store.asked) == 1
    store.away = False
    monkeypatch.setattr(recommender, "_closed_until", 0.0)
    assert (await recommender.suggest(["Dune"], 3)).source == "vectors"


async def test_basket_that_is_cached_is_served_while_the_store_is_away() -> None:
    store = FakeStore()
    recommender = Recommender(store, CATALOGUE)
    await recommender.suggest(["Dune"], 3)
    store.away = True
    assert (await recommender.suggest(["Dune"], 3)).source == "vectors"
    assert len(store.asked) == 1


async def test_books_without_vectors_are_asked_for_again() -> None:
    store = FakeStore(books=())
    recommender = Recommender(store, CATALOGUE)
    assert (await recommender.suggest(["Dune"], 3)).source == "static"
    store.books = NEAREST
    assert (await recommender.suggest(["Dune"], 3)).source == "vectors"


async def test_answers_are_forgotten_with_new_vectors() -> None:
    store = FakeStore()
    recommender = Recommender(store, CATALOGUE)
    await recommender.suggest(["Dune"], 3)
    store.books = (Book("y", "Y", "Somebody"),)
    recommender.forget_answers()
    assert (await recommender.suggest(["Dune"], 3)).books == store.books


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BASKETS_CACHED_MAX", 2)
    store = FakeStore()
    recommender = Recommender(store, CATALOGUE)
    for title in ("a", "b", "a", "c", "a", "b"):
        await recommender.suggest([title], 1)
    assert [titles for titles, _ in store.asked] == [("a",), ("b",), ("c",), ("b",)]


async def test_limit_of_zero_asks_nobody() -> None:
    store = FakeStore()
    assert (await Recommender(store, CATALOGUE).suggest(["Dune"], 0)).books == ()
    assert store.asked == []
