"""Search goes by meaning where it can, else by words, and always says which."""

from collections.abc import Sequence

import pytest

from suggestions.book_store import StoreUnavailableError
from suggestions.encoder import EncoderError
from suggestions.query_encoder import EncoderBusyError, EncoderNotReadyError
from suggestions.searcher import Found, Searcher
from utils.domain.order import Book

NEAR = (Book("near", "Near", "Somebody"),)
WORDED = (Book("worded", "Worded", "Somebody"),)


class FakeStore:
    def __init__(self) -> None:
        self.away = False

    async def nearest_to_vector(
        self, vector: Sequence[float], limit: int, *, distance_max: float, timeout_s: float
    ) -> tuple[Book, ...]:
        return self._answer(NEAR[:limit])

    async def by_words(self, text: str, limit: int, *, timeout_s: float) -> tuple[Book, ...]:
        return self._answer(WORDED[:limit])

    def _answer(self, books: tuple[Book, ...]) -> tuple[Book, ...]:
        if self.away:
            raise StoreUnavailableError("away")
        return books


class FakeEncoder:
    """Fails as it is told to."""

    def __init__(self) -> None:
        self.load_failure: EncoderError | None = None
        self.failure: Exception | None = None
        self.texts: list[str] = []

    async def load(self) -> object:
        if self.load_failure is not None:
            raise self.load_failure
        return self

    async def vector_of(self, text: str) -> list[float]:
        self.texts.append(text)
        if self.failure is not None:
            raise self.failure
        return [1.0]


class Search:
    """A searcher with everything behind it in memory."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.encoder = FakeEncoder()
        self.told: list[bool] = []
        self.searcher = Searcher(self.store, self.encoder, self._hear)

    async def _hear(self, semantic: bool) -> None:
        self.told.append(semantic)


@pytest.fixture
def search() -> Search:
    return Search()


async def test_by_words_until_every_book_has_its_vector_then_by_meaning(search: Search) -> None:
    await search.searcher.set_vectors(False)
    assert await search.searcher.search("whale", 5) == Found(WORDED, "full-text")
    await search.searcher.set_vectors(True)
    assert await search.searcher.search("whale", 5) == Found(NEAR, "semantic")
    await search.searcher.set_vectors(False)
    assert await search.searcher.search("whale", 5) == Found(WORDED, "full-text")
    assert search.told == [False, True, False]


@pytest.mark.parametrize("failure", [EncoderBusyError("busy"), EncoderNotReadyError("loading")])
async def test_by_words_while_the_encoder_has_no_time(search: Search, failure: Exception) -> None:
    await search.searcher.set_vectors(True)
    search.encoder.failure = failure
    assert await search.searcher.search("whale", 5) == Found(WORDED, "full-text")
    search.encoder.failure = None
    assert await search.searcher.search("whale", 5) == Found(NEAR, "semantic")


async def test_by_words_where_the_encoder_cannot_be_loaded(search: Search) -> None:
    search.encoder.load_failure = EncoderError("no weights")
    await search.searcher.set_vectors(True)
    assert search.told == [False]
    assert (await search.searcher.search("whale", 5)).ranking == "full-text"


@pytest.mark.parametrize("vectors", [False, True])
async def test_without_its_store_nothing_can_be_said(search: Search, vectors: bool) -> None:
    await search.searcher.set_vectors(vectors)
    search.store.away = True
    with pytest.raises(StoreUnavailableError):
        await search.searcher.search("whale", 5)


async def test_spaces_and_capitals_make_no_other_text(search: Search) -> None:
    await search.searcher.set_vectors(True)
    await search.searcher.search("  White\t WHALE ", 5)
    assert search.encoder.texts == ["white whale"]
