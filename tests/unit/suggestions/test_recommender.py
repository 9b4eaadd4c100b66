"""Two questions for each order at most; an order never fails or waits because of PostgreSQL, whatever is in stock."""

import asyncio
from collections.abc import Collection

import pytest
from hypothesis import given, strategies as st

from suggestions import recommender as module
from suggestions.book_store import StoreUnavailableError
from suggestions.recommender import NEAR_MAX, Recommender, Suggestions
from utils.catalogue import CatalogueBook, load_catalogue
from utils.domain.order import Book

CATALOGUE = load_catalogue()
NEAREST = (Book("x", "X", "Somebody"),)
CUSTOMER = "0123456789abcdef" * 2


class FakeStore:
    """Answers when told to; can be away."""

    def __init__(self, books: tuple[Book, ...] = NEAREST, bought: Collection[str] = ()) -> None:
        self.books = books
        self.titles_bought = frozenset(bought)
        self.away = False
        self.asked: list[tuple[set[str], set[str]]] = []
        self.customers: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def nearest_to_taste(
        self, basket: Collection[str], bought: Collection[str], limit: int, *, timeout_s: float
    ) -> tuple[Book, ...]:
        self.asked.append((set(basket), set(bought)))
        assert limit == NEAR_MAX
        await self._answer()
        return self.books

    async def bought(self, customer_hash: str, *, timeout_s: float) -> frozenset[str]:
        self.customers.append(customer_hash)
        await self._answer()
        return self.titles_bought

    async def _answer(self) -> None:
        await self.answering.wait()
        if self.away:
            raise StoreUnavailableError("away")


def of(store: FakeStore, sold_out: Collection[str] = ()) -> Recommender:
    return Recommender(store, CATALOGUE, lambda: sold_out)


async def test_nearest_books_come_from_vectors_and_are_asked_for_once() -> None:
    store = FakeStore()
    recommender = of(store)
    answers = [await recommender.suggest(titles, 3) for titles in (["Dune", "1984"], ["1984", "Dune", "Dune"])]
    assert [(answer.books, answer.source) for answer in answers] == [(NEAREST, "vectors")] * 2
    assert store.asked == [({"1984", "Dune"}, set())]
    await recommender.suggest(["Dune"], 3)
    await recommender.suggest(["1984", "Dune"], 4)
    assert len(store.asked) == 2
    assert store.customers == []


async def test_orders_at_the_same_time_share_one_query_and_one_may_leave() -> None:
    store = FakeStore()
    store.answering.clear()
    recommender = of(store)
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
    recommender = of(store)
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
    recommender = of(store)
    await recommender.suggest(["Dune"], 3)
    store.away = True
    assert (await recommender.suggest(["Dune"], 3)).source == "vectors"
    assert len(store.asked) == 1


async def test_books_without_vectors_are_asked_for_again() -> None:
    store = FakeStore(books=())
    recommender = of(store)
    assert (await recommender.suggest(["Dune"], 3)).source == "static"
    store.books = NEAREST
    assert (await recommender.suggest(["Dune"], 3)).source == "vectors"


async def test_answers_are_forgotten_with_new_vectors() -> None:
    store = FakeStore()
    recommender = of(store)
    await recommender.suggest(["Dune"], 3)
    store.books = (Book("y", "Y", "Somebody"),)
    recommender.forget_answers()
    assert (await recommender.suggest(["Dune"], 3)).books == store.books


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_CACHED_MAX", 2)
    store = FakeStore()
    recommender = of(store)
    for title in ("a", "b", "a", "c", "a", "b"):
        await recommender.suggest([title], 1)
    assert [basket for basket, _ in store.asked] == [{"a"}, {"b"}, {"c"}, {"b"}]


async def test_limit_of_zero_asks_nobody() -> None:
    store = FakeStore()
    assert (await of(store).suggest(["Dune"], 0)).books == ()
    assert store.asked == []


async def test_what_the_customer_bought_before_says_what_is_near_and_is_not_suggested_again() -> None:
    store = FakeStore((Book("y", "Emma", "Jane Austen"), *NEAREST), bought=["Emma", "Dune"])
    recommender = of(store)
    answer = await recommender.suggest(["Dune"], 3, customer_hash=CUSTOMER)
    assert answer.books == NEAREST
    assert store.asked == [({"Dune"}, {"Emma", "Dune"})]
    await recommender.suggest(["1984"], 3, customer_hash=CUSTOMER)
    assert store.customers == [CUSTOMER]


async def test_what_was_bought_is_soon_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOUGHT_AGE_S_MAX", 0.0)
    store = FakeStore((Book("y", "Emma", "Jane Austen"), *NEAREST))
    recommender = of(store)
    assert len((await recommender.suggest(["Dune"], 3, customer_hash=CUSTOMER)).books) == 2
    store.titles_bought = frozenset({"Emma"})
    assert (await recommender.suggest(["Dune"], 3, customer_hash=CUSTOMER)).books == NEAREST


async def test_customer_of_whom_nothing_can_be_asked_gets_suggestions_for_the_basket() -> None:
    store = FakeStore()
    store.away = True
    answer = await of(store).suggest(["Dune"], 3, customer_hash=CUSTOMER)
    assert (answer.source, len(answer.books)) == ("static", 3)
    # The first question found out that the store is away; the second was not asked.
    assert (len(store.customers), len(store.asked)) == (1, 0)


async def test_books_in_stock_are_suggested_before_those_that_are_sold_out() -> None:
    books = tuple(Book(title, title, title) for title in "abcd")
    answer = await of(FakeStore(books), sold_out={"a", "c"}).suggest(["Dune"], 3)
    assert [book.title for book in answer.books] == ["b", "d", "a"]


async def test_static_suggestions_know_what_is_sold_out_and_bought() -> None:
    store = FakeStore(())
    usual = (await of(store).suggest(["Dune"], 2)).books
    store.titles_bought = frozenset({usual[1].title})
    answer = await of(store, sold_out={usual[0].title}).suggest(["Dune"], 3, customer_hash=CUSTOMER)
    assert answer.source == "static"
    assert not {book.title for book in answer.books} & {book.title for book in usual}


async def test_recommendations_know_no_customer() -> None:
    store = FakeStore()
    assert await of(store).recommend(["Dune"], 3) == Suggestions(NEAREST, "vectors")
    assert store.customers == []


TITLES = st.sampled_from([book.title for book in CATALOGUE[:12]] + ["no such book"])


@given(
    basket=st.lists(TITLES, max_size=6),
    bought=st.sets(TITLES),
    near=st.permutations(CATALOGUE[:12]),
    sold_out=st.sets(TITLES),
    away=st.booleans(),
)
def test_no_book_in_the_basket_or_bought_before_is_ever_suggested(
    basket: list[str], bought: set[str], near: list[CatalogueBook], sold_out: set[str], away: bool
) -> None:
    async def suggest() -> tuple[Suggestions, Suggestions]:
        # A store that takes nothing away itself.
        store = FakeStore(tuple(book.book for book in near), bought)
        recommender = of(store, sold_out)
        await recommender.suggest(basket, 8, customer_hash=CUSTOMER)
        store.away = away
        return await recommender.suggest(basket, 8, customer_hash=CUSTOMER), await recommender.recommend(basket, 8)

    suggested, recommended = asyncio.run(suggest())
    assert not {book.title for book in suggested.books} & ({*basket} | bought)
    assert not {book.title for book in recommended.books} & {*basket}
    assert len(suggested.books) <= 8
    titles = [book.title for book in suggested.books]
    assert len(set(titles)) == len(titles)
    assert [title in sold_out for title in titles] == sorted(title in sold_out for title in titles)
