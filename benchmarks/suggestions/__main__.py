"""How well books are found and recommended: 76 queries and 40 baskets, by vectors, full text and popularity.

python -m benchmarks.suggestions

expected.json says which books a bookseller would put on the table. It was written by hand from the catalogue alone,
before any ranking was looked at. One thing was changed by what it said first: the subjects of a book, which full text
knew from the start, are now part of the text that is encoded. Popularity is the number of copies with which the shop
opens, its own forecast of sales. Everything runs as in the shop: PostgreSQL with its indexes, the numpy encoder, and
the services' own classes. Exits with 1 unless vectors beat both others. The last line is one JSON object.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from benchmarks.suggestions.metrics import Quality, quality
from bookstore import postgres
from bookstore.system import POSTGRES, free_ports
from suggestions.book_store import BookStore, text_of
from suggestions.encoder import Encoder, open_encoder
from suggestions.indexer import Indexer
from suggestions.query_encoder import QueryEncoder
from suggestions.recommender import Recommender
from suggestions.searcher import Searcher
from utils.catalogue import load_catalogue
from utils.observe.logging import configure_logging

EXPECTED: Final = Path(__file__).with_name("expected.json")
CATALOGUE: Final = load_catalogue()
TITLES: Final = {book.book_id: book.title for book in CATALOGUE}
POPULAR: Final = [book.book_id for book in sorted(CATALOGUE, key=lambda book: -book.stock)]
# Of each list, as many as the reciprocal rank looks through.
LIMIT: Final = 20
TIMEOUT_S: Final = 10.0

Ranking = Callable[[Any], Awaitable[Sequence[str]]]


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[BookStore, QueryEncoder]]:
    """An embedded PostgreSQL with every book, its words and its vector; and the loaded encoder."""
    # One thread is best: see suggestions/minilm.py.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="bookstore-") as directory:
        port = free_ports()[POSTGRES]
        spec = postgres.prepare(Path(directory), port)
        with (Path(directory) / "postgres.log").open("wb") as log:
            server = await asyncio.create_subprocess_exec(*spec.command, env=spec.environment, stdout=log, stderr=log)
        store = BookStore(postgres.database_url(Path(directory), port))
        encoder = QueryEncoder(lambda: open_encoder("numpy"))
        try:
            await store.open()
            await _index(store, encoder.load)
            yield store, encoder
        finally:
            await store.close()
            encoder.close()
            server.terminate()
            await server.wait()


async def _index(store: BookStore, load: Callable[[], Awaitable[Encoder]]) -> None:
    complete = asyncio.Event()

    async def on_vectors(is_complete: bool) -> None:
        if is_complete:
            complete.set()

    async def on_books(_: bool) -> None: ...

    indexer = asyncio.create_task(Indexer(store, CATALOGUE, load, on_books=on_books, on_vectors=on_vectors).run())
    await complete.wait()
    indexer.cancel()
    await load()


class Rankings:
    """Each way to answer, as lists of book ids; for queries and for baskets (titles)."""

    def __init__(self, store: BookStore, searcher: Searcher, recommender: Recommender) -> None:
        self._store = store
        self._searcher = searcher
        self._recommender = recommender

    async def search_by_vectors(self, query: str) -> Sequence[str]:
        async with asyncio.timeout(TIMEOUT_S):
            # On a busy machine the first answer goes by words, and the vector is there for the next.
            while (found := await self._searcher.search(query, LIMIT)).ranking != "semantic":
                pass
        return [book.book_id for book in found.books]

    async def search_by_words(self, query: str) -> Sequence[str]:
        return [book.book_id for book in await self._store.by_words(query, LIMIT, timeout_s=TIMEOUT_S)]

    async def search_by_popularity(self, _query: str) -> Sequence[str]:
        return POPULAR[:LIMIT]

    async def recommend_by_vectors(self, basket: Collection[str]) -> Sequence[str]:
        suggestions = await self._recommender.recommend(basket, LIMIT)
        if suggestions.source != "vectors":
            raise SystemExit("PostgreSQL did not answer in time: the machine is too busy to measure anything")
        return [book.book_id for book in suggestions.books]

    async def recommend_by_words(self, basket: Collection[str]) -> Sequence[str]:
        """Books that share words with the texts of those in the basket."""
        text = " ".join(text_of(book) for book in CATALOGUE if book.title in basket)
        found = await self._store.by_words(text, LIMIT + len(basket), timeout_s=TIMEOUT_S)
        return [book.book_id for book in found if book.title not in basket][:LIMIT]

    async def recommend_by_popularity(self, basket: Collection[str]) -> Sequence[str]:
        return [book_id for book_id in POPULAR if TITLES[book_id] not in basket][:LIMIT]


async def measure(ranking: Ranking, questions: Sequence[tuple[Any, Collection[str]]]) -> tuple[Quality, list[float]]:
    """Quality, and how many milliseconds each question took; each is asked once, so that no cache knows it."""
    lists, took_ms = [], []
    for question, expected in questions:
        started_at = time.perf_counter()
        lists.append((await ranking(question), expected))
        took_ms.append((time.perf_counter() - started_at) * 1_000)
    return quality(lists), took_ms


async def main() -> None:
    configure_logging("benchmark", "benchmark")
    expected = json.loads(EXPECTED.read_bytes())
    queries = [(entry["query"], entry["expected"]) for entry in expected["queries"]]
    baskets = [([TITLES[book] for book in entry["basket"]], entry["expected"]) for entry in expected["baskets"]]
    async with shop() as (store, encoder):

        async def on_semantic(_: bool) -> None: ...

        searcher = Searcher(store, encoder, on_semantic)
        await searcher.set_vectors(True)
        rankings = Rankings(store, searcher, Recommender(store, CATALOGUE, frozenset))
        # The first question of a process pays for what the others find ready.
        await searcher.search("a warm welcome", LIMIT)
        kinds: dict[str, tuple[Sequence[tuple[Any, Collection[str]]], dict[str, Ranking]]] = {
            "queries": (
                queries,
                {
                    "vectors": rankings.search_by_vectors,
                    "full text": rankings.search_by_words,
                    "popularity": rankings.search_by_popularity,
                },
            ),
            "baskets": (
                baskets,
                {
                    "vectors": rankings.recommend_by_vectors,
                    "full text": rankings.recommend_by_words,
                    "popularity": rankings.recommend_by_popularity,
                },
            ),
        }
        summary: dict[str, Any] = {}
        print(f"{'':<9} {'':>3} {'ranking':<11} {'recall@5':>8} {'MRR':>6} {'p50 ms':>7} {'p95 ms':>7}")
        for kind, (questions, ways) in kinds.items():
            summary[kind] = {"number": len(questions)}
            for way, ranking in ways.items():
                found, took_ms = await measure(ranking, questions)
                cuts = quantiles(took_ms, n=20)
                row = {**asdict(found), "p50_ms": cuts[9], "p95_ms": cuts[18]}
                summary[kind][way] = {name: round(value, 3) for name, value in row.items()}
                print(
                    f"{kind:<9} {len(questions):>3} {way:<11} {found.recall_at_5:>8.3f} {found.mrr:>6.3f} "
                    f"{cuts[9]:>7.1f} {cuts[18]:>7.1f}"
                )
    print(json.dumps(summary))
    for kind in kinds:
        for measured in ("recall_at_5", "mrr"):
            vectors, *others = (summary[kind][way][measured] for way in kinds[kind][1])
            if vectors <= max(others):
                raise SystemExit(1)


if __name__ == "__main__":
    asyncio.run(main())
