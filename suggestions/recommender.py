"""Suggestions for a basket: by stored vectors where PostgreSQL answers at once, else from the catalogue's subjects.

Where a generative model is at hand, it chooses among more of these than are asked for; without its answer they stand.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from suggestions.book_store import StoreUnavailableError
from suggestions.chooser import Chooser
from suggestions.ranking import on_same_subjects
from utils.catalogue import CatalogueBook
from utils.domain.order import Book
from utils.generative_ai.errors import GenerativeAiError
from utils.observe.logging import get_logger

log = get_logger()

BASKETS_CACHED_MAX: Final = 4_096
# Another replica may have stored vectors since.
CACHE_AGE_S_MAX: Final = 60.0
# An order does not wait longer than this for better suggestions.
QUERY_TIMEOUT_S: Final = 0.3
# After a failure the store is left alone for so long: one order in this time finds out, the others go on.
RETRY_INTERVAL_S: Final = 1.0
# What the model chooses among.
CANDIDATES: Final = 20
# A choice costs money, and a basket's does not age soon.
CHOICE_AGE_S_MAX: Final = 3_600.0
# Of the time that an order still has, the model may take this much.
AI_SHARE: Final = 0.5


class NearestBooks(Protocol):
    """What the recommender needs of a store."""

    async def nearest(self, titles: Sequence[str], limit: int, *, timeout_s: float) -> tuple[Book, ...]:
        """Raises StoreUnavailableError; empty where there are no vectors."""
        ...


@dataclass(frozen=True)
class Suggestions:
    """`source` says where the books come from."""

    books: tuple[Book, ...]
    source: Literal["ai", "vectors", "static"]


@dataclass(frozen=True)
class _Entry:
    query: asyncio.Task[tuple[Book, ...]]
    expires_at: float


class Recommender:
    """Asks the store once for each basket of titles, however many orders have it at the same time."""

    def __init__(self, store: NearestBooks, catalogue: Sequence[CatalogueBook], chooser: Chooser | None = None) -> None:
        self._store = store
        self._catalogue = catalogue
        self._chooser = chooser
        self._choices: OrderedDict[tuple[frozenset[str], int], tuple[float, tuple[Book, ...]]] = OrderedDict()
        self._cache: OrderedDict[tuple[frozenset[str], int], _Entry] = OrderedDict()
        self._closed_until = 0.0

    async def suggest(self, titles: Sequence[str], limit: int, *, deadline: float = math.inf) -> Suggestions:
        """At most `limit` books that are not in the basket, by `deadline` (the loop's time). Never fails."""
        if limit == 0:
            return Suggestions((), "static")
        if self._chooser is None:
            return await self._near(titles, limit)
        now = asyncio.get_running_loop().time()
        key = (frozenset(titles), limit)
        if (kept := self._choices.get(key)) and kept[0] > now:
            self._choices.move_to_end(key)
            return Suggestions(kept[1], "ai")
        near = await self._near(titles, max(limit, CANDIDATES))
        return await self._choose(self._chooser, key, near, deadline) if near.books else near

    def forget_answers(self) -> None:
        """The store has other vectors now."""
        self._cache.clear()
        self._choices.clear()

    async def _near(self, titles: Sequence[str], limit: int) -> Suggestions:
        books = await self._by_vectors(frozenset(titles), limit)
        if books:
            return Suggestions(books, "vectors")
        return Suggestions(on_same_subjects(self._catalogue, titles, limit), "static")

    async def _choose(
        self, chooser: Chooser, key: tuple[frozenset[str], int], near: Suggestions, deadline: float
    ) -> Suggestions:
        """Each order asks for itself: one that is stopped abandons its own call, and no other's."""
        basket, limit = key
        loop = asyncio.get_running_loop()
        timeout_s = (deadline - loop.time()) * AI_SHARE
        try:
            books = await chooser.choose(sorted(basket), near.books, limit, timeout_s=timeout_s)
        except GenerativeAiError:
            return Suggestions(near.books[:limit], near.source)
        self._choices[key] = (loop.time() + CHOICE_AGE_S_MAX, books)
        self._choices.move_to_end(key)
        if len(self._choices) > BASKETS_CACHED_MAX:
            self._choices.popitem(last=False)
        return Suggestions(books, "ai")

    async def _by_vectors(self, basket: frozenset[str], limit: int) -> tuple[Book, ...]:
        now = asyncio.get_running_loop().time()
        key = (basket, limit)
        entry = self._cache.get(key)
        if entry is None or entry.expires_at <= now:
            if now < self._closed_until:
                return ()
            entry = self._cache[key] = _Entry(asyncio.create_task(self._query(key)), now + CACHE_AGE_S_MAX)
            if len(self._cache) > BASKETS_CACHED_MAX:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        # Shielded: an order that is stopped meanwhile does not end the query of the others.
        return await asyncio.shield(entry.query)

    async def _query(self, key: tuple[frozenset[str], int]) -> tuple[Book, ...]:
        basket, limit = key
        try:
            books = await self._store.nearest(sorted(basket), limit, timeout_s=QUERY_TIMEOUT_S)
        except StoreUnavailableError as error:
            self._closed_until = asyncio.get_running_loop().time() + RETRY_INTERVAL_S
            log.warning("suggestions come from the catalogue", cause=str(error))
            books = ()
        if not books and (entry := self._cache.get(key)) and entry.query is asyncio.current_task():
            # Worth asking again.
            del self._cache[key]
        return books
