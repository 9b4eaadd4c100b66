"""Suggestions with a model that chooses: only among near books, and never longer than an order has time."""

import asyncio
import time
from collections.abc import Collection

import pytest

from suggestions.book_store import StoreUnavailableError
from suggestions.chooser import Chooser
from suggestions.recommender import Recommender
from tests.integration.generative_ai.asking import client
from tests.support.fake_generative_ai import FakeGenerativeAi, Reply, disconnects, hangs, refuses, says
from utils.catalogue import load_catalogue
from utils.domain.order import Book
from utils.generative_ai.circuit_breaker import CircuitBreaker
from utils.generative_ai.client import GenerativeAi
from utils.observe.counters import counters

CATALOGUE = load_catalogue()
NEAR = tuple(book.book for book in CATALOGUE[30:50])


class Store:
    """Has NEAR for every basket; can be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away

    async def nearest_to_taste(
        self, basket: Collection[str], bought: Collection[str], limit: int, *, timeout_s: float
    ) -> tuple[Book, ...]:
        if self.away:
            raise StoreUnavailableError("away")
        return NEAR[:limit]

    async def bought(self, customer_hash: str, *, timeout_s: float) -> frozenset[str]:
        return frozenset({NEAR[0].title})


def recommender_with(ai: GenerativeAi, store: Store | None = None, sold_out: Collection[str] = ()) -> Recommender:
    return Recommender(store or Store(), CATALOGUE, lambda: sold_out, Chooser(ai))


def chooses(*books: Book) -> Reply:
    ids = ", ".join(f'"{book.book_id}"' for book in books)
    return says(f'{{"book_ids": [{ids}]}}')


async def test_the_model_chooses_among_near_books_and_the_nearest_fill_up(fake: FakeGenerativeAi) -> None:
    fake.reply = chooses(NEAR[19], NEAR[4])
    async with client(fake.url) as ai:
        answer = await recommender_with(ai).suggest(["Dune"], 4)
    assert (answer.books, answer.source) == ((NEAR[19], NEAR[4], NEAR[0], NEAR[1]), "ai")
    [request] = fake.received
    assert request.data["basket"] == ["Dune"]
    assert [book["book_id"] for book in request.data["candidates"]] == [book.book_id for book in NEAR]


async def test_a_choice_is_kept_for_its_basket(fake: FakeGenerativeAi) -> None:
    fake.reply = chooses(NEAR[3])
    async with client(fake.url) as ai:
        recommender = recommender_with(ai)
        first = await recommender.suggest(["Dune", "1984"], 3)
        fake.reply = hangs
        assert await recommender.suggest(["1984", "Dune"], 3) == first
        assert len(fake.received) == 1
        recommender.forget_answers()
        fake.reply = chooses(NEAR[5])
        assert (await recommender.suggest(["1984", "Dune"], 3)).books[0] == NEAR[5]


async def test_it_is_offered_nothing_sold_out_or_bought_before_and_no_history(fake: FakeGenerativeAi) -> None:
    fake.reply = chooses(NEAR[3])
    async with client(fake.url) as ai:
        recommender = recommender_with(ai, sold_out={NEAR[1].title})
        answer = await recommender.suggest(["Dune"], 3, customer_hash="c0ffee00" * 4)
    [request] = fake.received
    assert request.data["basket"] == ["Dune"]
    assert [book["book_id"] for book in request.data["candidates"]] == [book.book_id for book in NEAR[2:]]
    assert answer.books == (NEAR[3], NEAR[2], NEAR[4])


async def test_without_vectors_it_chooses_among_the_catalogues_subjects(fake: FakeGenerativeAi) -> None:
    async with client(fake.url) as ai:
        recommender = recommender_with(ai, Store(away=True))
        static = await recommender.suggest(["Dune"], 3)
        assert static.source == "static"
        offered = [book["book_id"] for book in fake.received[0].data["candidates"]]
        fake.reply = says(f'{{"book_ids": ["{offered[7]}"]}}')
        chosen = await recommender.suggest(["Dune"], 3)
    assert chosen.source == "ai"
    assert [book.book_id for book in chosen.books] == [offered[7], *offered[:2]]
    assert "Dune" not in [book.title for book in chosen.books]


OUTSIDE = CATALOGUE[0].book


@pytest.mark.parametrize(
    ("reply", "counted"),
    [
        (chooses(OUTSIDE), "wrong_schema"),
        (chooses(NEAR[0], OUTSIDE), "wrong_schema"),
        (chooses(NEAR[0], NEAR[0]), "wrong_schema"),
        (says('{"book_ids": ["the-book-you-must-buy"]}'), "wrong_schema"),
        (says('{"book_ids": []}'), "wrong_schema"),
        (says('{"book_ids": [1]}'), "wrong_schema"),
        (says("Dune Messiah"), "malformed"),
        (refuses(429, "RESOURCE_EXHAUSTED"), "http"),
        (disconnects, "connection"),
        (hangs, "timeout"),
    ],
)
async def test_without_a_choice_the_nearest_stand(fake: FakeGenerativeAi, reply: Reply, counted: str) -> None:
    fake.reply = reply
    async with client(fake.url, ai_timeout_s=0.3) as ai:
        answer = await recommender_with(ai).suggest(["Dune"], 3)
    assert (answer.books, answer.source) == (NEAR[:3], "vectors")
    assert counters() == {f"generative_ai.suggestions.{counted}": 1}


async def test_an_order_with_little_time_left_does_not_wait(fake: FakeGenerativeAi) -> None:
    fake.reply = hangs
    async with client(fake.url, ai_timeout_s=30) as ai:
        recommender = recommender_with(ai)
        started_at = time.monotonic()
        answer = await recommender.suggest(["Dune"], 3, deadline=asyncio.get_running_loop().time() + 0.5)
        assert time.monotonic() - started_at < 0.5
    assert answer.source == "vectors"


async def test_an_order_that_is_stopped_abandons_its_own_question_only(fake: FakeGenerativeAi) -> None:
    fake.reply = hangs
    async with client(fake.url, CircuitBreaker(failures_max=1), ai_timeout_s=30) as ai:
        recommender = recommender_with(ai)
        stopped = asyncio.create_task(recommender.suggest(["Dune"], 3))
        await asyncio.wait_for(fake.arrived.wait(), 5)
        fake.reply = chooses(NEAR[2])
        other = asyncio.create_task(recommender.suggest(["Dune"], 3))
        stopped.cancel()
        await asyncio.wait_for(fake.abandoned.wait(), 5)
        assert (await asyncio.wait_for(other, 5)).books[0] == NEAR[2]


async def test_a_basket_of_everything_leaves_nothing_to_ask(fake: FakeGenerativeAi) -> None:
    async with client(fake.url) as ai:
        recommender = recommender_with(ai, Store(away=True))
        assert (await recommender.suggest([book.title for book in CATALOGUE], 3)).books == ()
    assert fake.received == []
