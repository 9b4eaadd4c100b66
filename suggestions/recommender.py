"""Suggestions for a basket and a customer: by stored vectors where PostgreSQL answers at once, else by subjects.

Where a generative model is at hand, it chooses among more of these than are asked for; without its answer they stand.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

from suggestions.book_store import StoreUnavailableError
from suggestions.chooser import Chooser
from suggestions.ranking import arranged, in_stock_first, on_same_subjects
from suggestions.shared_answers import SharedAnswers
from utils.catalogue import CatalogueBook
from utils.domain.order import Book
from utils.generative_ai.errors import GenerativeAiError
from utils.observe.logging import get_logger

log = get_logger()

_K = TypeVar("_K")
_V = TypeVar("_V")

ENTRIES_CACHED_MAX: Final = 4_096
# Another replica may have stored vectors since.
NEAR_AGE_S_MAX: Final = 60.0
# What somebody has just bought is soon known.
BOUGHT_AGE_S_MAX: Final = 10.0
# An order does not wait longer than this for each of its two questions.
QUERY_TIMEOUT_S: Final = 0.3
# After a failure the store is left alone for so long: one order in this time finds out, the others go on.
RETRY_INTERVAL_S: Final = 1.0
# More than are shown: some are sold out, or by an author who is there already.
NEAR_MAX: Final = 40
# What the model chooses among.
CANDIDATES: Final = 20
# A choice costs money, and a basket's does not age soon.
CHOICE_AGE_S_MAX: Final = 3_600.0
# Of the time that an order still has, the model may take this much.
AI_SHARE: Final = 0.5


class Books(Protocol):
    """What the recommender needs of a store; each raises StoreUnavailableError."""

    async def nearest_to_taste(
        self, basket: Collection[str], bought: Collection[str], limit: int, *, timeout_s: float
    ) -> tuple[Book, ...]:
        """Empty where there are no vectors."""
        ...

    async def bought(self, customer_hash: str, *, timeout_s: float) -> frozenset[str]:
        """Titles."""
        ...


@dataclass(frozen=True)
class Suggestions:
    """`source` says where the books come from."""

    books: tuple[Book, ...]
    source: Literal["ai", "vectors", "static"]


@dataclass(frozen=True)
class Taste:
    """Titles that somebody wants now, and that the same customer bought before. None of them is suggested."""

    basket: frozenset[str]
    bought: frozenset[str] = frozenset()

    @property
    def titles(self) -> frozenset[str]:
        return self.basket | self.bought


class Recommender:
    """Asks the store once for each taste and customer, however many orders have it at the same time."""

    def __init__(
        self,
        store: Books,
        catalogue: Sequence[CatalogueBook],
        sold_out: Callable[[], Collection[str]],
        chooser: Chooser | None = None,
    ) -> None:
        """`sold_out`: the titles of which no copy is left, as far as that is known."""
        self._store = store
        self._catalogue = catalogue
        self._sold_out = sold_out
        self._chooser = chooser
        self._choices: OrderedDict[tuple[Taste, int], tuple[float, tuple[Book, ...]]] = OrderedDict()
        # Books without vectors are worth asking for again.
        self._near = SharedAnswers(self._ask_near, entries_max=ENTRIES_CACHED_MAX, age_s_max=NEAR_AGE_S_MAX, keep=bool)
        self._bought = SharedAnswers(self._ask_bought, entries_max=ENTRIES_CACHED_MAX, age_s_max=BOUGHT_AGE_S_MAX)
        self._closed_until = 0.0

    async def suggest(
        self, titles: Collection[str], limit: int, *, customer_hash: str = "", deadline: float = math.inf
    ) -> Suggestions:
        """For an order: at most `limit` books, by `deadline` (the loop's time). Never fails.

        They are neither in the basket nor in what the customer, where one is named, bought before.
        """
        if limit == 0:
            return Suggestions((), "static")
        taste = Taste(frozenset(titles), await self._bought_by(customer_hash))
        if self._chooser is None:
            return await self._suggest_near(taste, limit)
        key = (taste, limit)
        if (kept := self._choices.get(key)) and kept[0] > asyncio.get_running_loop().time():
            self._choices.move_to_end(key)
            return Suggestions(in_stock_first(kept[1], self._sold_out()), "ai")
        near = await self._suggest_near(taste, max(limit, CANDIDATES))
        return await self._choose(self._chooser, key, near, deadline) if near.books else near

    async def recommend(self, titles: Collection[str], limit: int) -> Suggestions:
        """For a basket that nobody has ordered yet: by vectors or subjects alone. Never fails."""
        return await self._suggest_near(Taste(frozenset(titles)), limit)

    def forget_answers(self) -> None:
        """The store has other vectors now."""
        self._near.clear()
        self._choices.clear()

    async def _bought_by(self, customer_hash: str) -> frozenset[str]:
        """Nothing where that is not known, or no customer is named."""
        if not customer_hash:
            return frozenset()
        bought = await self._known(self._bought, customer_hash)
        return bought or frozenset()

    async def _suggest_near(self, taste: Taste, limit: int) -> Suggestions:
        books = await self._known(self._near, taste)
        source: Literal["vectors", "static"] = "vectors" if books else "static"
        found = books or on_same_subjects(self._catalogue, taste.titles)
        # Whatever the store says: a title that somebody has is no suggestion.
        fitting = [book for book in found if book.title not in taste.titles]
        return Suggestions(arranged(fitting, self._sold_out())[:limit], source)

    async def _choose(
        self, chooser: Chooser, key: tuple[Taste, int], near: Suggestions, deadline: float
    ) -> Suggestions:
        """Each order asks for itself: one that is stopped abandons its own call, and no other's."""
        taste, limit = key
        loop = asyncio.get_running_loop()
        timeout_s = (deadline - loop.time()) * AI_SHARE
        sold_out = self._sold_out()
        in_stock = [book for book in near.books if book.title not in sold_out]
        candidates = in_stock if len(in_stock) >= limit else near.books
        try:
            books = await chooser.choose(sorted(taste.basket), candidates, limit, timeout_s=timeout_s)
        except GenerativeAiError:
            return Suggestions(near.books[:limit], near.source)
        self._choices[key] = (loop.time() + CHOICE_AGE_S_MAX, books)
        self._choices.move_to_end(key)
        if len(self._choices) > ENTRIES_CACHED_MAX:
            self._choices.popitem(last=False)
        return Suggestions(in_stock_first(books, sold_out), "ai")

    async def _known(self, answers: SharedAnswers[_K, _V], key: _K) -> _V | None:
        """None where the store is away."""
        if not answers.has(key) and asyncio.get_running_loop().time() < self._closed_until:
            return None
        try:
            return await answers.get(key)
        except StoreUnavailableError:
            return None

    async def _ask_near(self, taste: Taste) -> tuple[Book, ...]:
        return await self._asked(
            self._store.nearest_to_taste(taste.basket, taste.bought, NEAR_MAX, timeout_s=QUERY_TIMEOUT_S)
        )

    async def _ask_bought(self, customer_hash: str) -> frozenset[str]:
        return await self._asked(self._store.bought(customer_hash, timeout_s=QUERY_TIMEOUT_S))

    async def _asked(self, query: Awaitable[_V]) -> _V:
        """Raises StoreUnavailableError, after which the store is left alone."""
        try:
            return await query
        except StoreUnavailableError as error:
            self._closed_until = asyncio.get_running_loop().time() + RETRY_INTERVAL_S
            log.warning("suggestions come from the catalogue", cause=str(error))
            raise
