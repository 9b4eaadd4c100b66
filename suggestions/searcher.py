"""Finds books by what a visitor writes: by meaning where the encoder can be asked, else by words, and says which."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from suggestions.encoder import EncoderError
from suggestions.query_encoder import EncoderBusyError, EncoderNotReadyError
from utils.domain.order import Book
from utils.observe.counters import count

QUERY_TIMEOUT_S: Final = 1.0
# Farther away nothing is found: what no book is about ("football results", "garden hose") is at 0.8 and beyond.
DISTANCE_MAX: Final = 0.8


class Vectors(Protocol):
    """What the searcher needs of the encoder."""

    async def load(self) -> object:
        """Raises EncoderError."""
        ...

    async def vector_of(self, text: str) -> list[float]:
        """Raises EncoderNotReadyError, EncoderBusyError."""
        ...


class Books(Protocol):
    """What the searcher needs of a store; each raises StoreUnavailableError."""

    async def nearest_to_vector(
        self, vector: Sequence[float], limit: int, *, distance_max: float, timeout_s: float
    ) -> tuple[Book, ...]: ...

    async def by_words(self, text: str, limit: int, *, timeout_s: float) -> tuple[Book, ...]: ...


@dataclass(frozen=True)
class Found:
    """Books, best first."""

    books: tuple[Book, ...]
    ranking: Literal["semantic", "full-text"]


class Searcher:
    """By meaning only while every book has its vector: a book without one could not be found."""

    def __init__(self, store: Books, encoder: Vectors, on_semantic: Callable[[bool], Awaitable[None]]) -> None:
        """`on_semantic` hears whether search goes by meaning."""
        self._store = store
        self._encoder = encoder
        self._on_semantic = on_semantic
        self._semantic = False

    async def set_vectors(self, complete: bool) -> None:
        """Whether every book has its vector. Returns when the encoder is loaded too, or cannot be."""
        if complete:
            try:
                await self._encoder.load()
            except EncoderError:
                complete = False
        self._semantic = complete
        await self._on_semantic(complete)

    async def search(self, query: str, limit: int) -> Found:
        """At most `limit` books. Raises StoreUnavailableError."""
        # The model knows no capitals, and one space is as good as two.
        text = " ".join(query.lower().split())
        found = await self._by_meaning(text, limit) if self._semantic else None
        if found is None:
            found = Found(await self._store.by_words(text, limit, timeout_s=QUERY_TIMEOUT_S), "full-text")
        count(f"suggestions.search.{found.ranking}")
        return found

    async def _by_meaning(self, text: str, limit: int) -> Found | None:
        try:
            vector = await self._encoder.vector_of(text)
        except (EncoderNotReadyError, EncoderBusyError):
            return None
        books = await self._store.nearest_to_vector(vector, limit, distance_max=DISTANCE_MAX, timeout_s=QUERY_TIMEOUT_S)
        return Found(books, "semantic")
