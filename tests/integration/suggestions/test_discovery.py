"""What visitors ask of the process, and what it knows of stock and customers; whatever is away, it says the truth."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suggestions.book_store import text_of
from suggestions.encoder import DIMENSIONS
from suggestions.minilm import MiniLmEncoder
from tests.integration.db_node.database_cluster import database_processes
from tests.integration.suggestions.service_process import NOT_SERVING, SERVING, Service, running, store_vectors
from tests.integration.suggestions.test_purchases import ADA, ended, write
from tests.support.postgres import PostgresServer
from utils.catalogue import load_catalogue
from utils.db_client.client import DatabaseClient
from utils.db_client.keys import stock_key
from utils.pb import suggestions_pb2, suggestions_pb2_grpc
from utils.rpc.errors import InvalidArgument, Unavailable

CATALOGUE = load_catalogue()
SEMANTIC_SEARCH = "semantic-search"


def vectors(*titles: str) -> dict[str, list[float]]:
    """Of all books: the model's for `titles`, chance's for the others."""
    chance = np.random.default_rng(7).normal(size=(len(CATALOGUE), DIMENSIONS))
    stored = {book.title: vector for book, vector in zip(CATALOGUE, chance.tolist(), strict=True)}
    encoder = MiniLmEncoder()
    stored |= {book.title: encoder.encode([text_of(book)])[0] for book in CATALOGUE if book.title in titles}
    return stored


def a_line_of(*titles: str) -> dict[str, list[float]]:
    """Vectors by which each of `titles` is nearer to the first than all that come after it; the others are far."""
    stored = {book.title: [-1.0, *[0.0] * (DIMENSIONS - 1)] for book in CATALOGUE}
    stored |= {title: [1.0, 0.1 * place, *[0.0] * (DIMENSIONS - 2)] for place, title in enumerate(titles)}
    return stored


async def eventually(service: Service, customer_hash: str, right: Callable[[list[str]], bool]) -> list[str]:
    """The titles that are suggested for Dune, once they are `right`."""
    async with asyncio.timeout(30):
        while True:
            response = await service.suggest("Dune", customer_hash=customer_hash)
            if right(titles := [book.title for book in response.books]):
                return titles
            await asyncio.sleep(0.1)


async def test_search_goes_by_words_while_vectors_are_computed(postgres: PostgresServer) -> None:
    async with running(postgres) as service:
        await service.eventually_healthy(SERVING)
        found = await service.search("whales")
        assert (found.ranking, found.books[0].title) == ("full-text", "Moby-Dick")
        await service.eventually_healthy(NOT_SERVING, SEMANTIC_SEARCH)


async def test_search_goes_by_meaning_once_all_is_there_and_again_after_the_database_was_away(
    postgres: PostgresServer,
) -> None:
    await store_vectors(postgres, vectors("Moby-Dick", "Dracula", "The Martian"))
    async with running(postgres) as service:
        await service.eventually_healthy(SERVING, SEMANTIC_SEARCH)
        # None of these words is in the catalogue's.
        found = await service.search("astronaut")
        assert (found.ranking, found.books[0].title) == ("semantic", "The Martian")
        assert (await service.search("vampires", limit=1)).books[0].title == "Dracula"
        assert list((await service.search("football results")).books) == []
        postgres.stop()
        await service.eventually_healthy(NOT_SERVING, SEMANTIC_SEARCH)
        with pytest.raises(Unavailable):
            await service.search("astronaut")
        recommended = await service.recommend("Dune")
        assert (recommended.source, len(recommended.books)) == ("static", 3)
        postgres.start()
        await service.eventually_healthy(SERVING, SEMANTIC_SEARCH)
        assert (await service.search("astronaut")).ranking == "semantic"


async def test_recommendations_go_with_the_basket(postgres: PostgresServer) -> None:
    await store_vectors(postgres, a_line_of("Dune", "Emma", "Faust", "Solaris"))
    async with running(postgres) as service:
        await service.eventually_healthy(SERVING, SEMANTIC_SEARCH)
        first = await service.recommend("Dune")
        assert (first.source, [book.title for book in first.books]) == ("vectors", ["Emma", "Faust", "Solaris"])
        second = await service.recommend("Dune", "Emma")
        assert [book.title for book in second.books][:2] == ["Faust", "Solaris"]
        assert len((await service.recommend("no such book")).books) == 3


async def test_sold_out_books_give_way_until_they_are_back(postgres: PostgresServer, tmp_path: Path) -> None:
    await store_vectors(postgres, a_line_of("Dune", "Emma", "Faust", "Solaris", "Beloved"))
    async with database_processes(tmp_path) as nodes:
        client = DatabaseClient(nodes.addresses)
        for title in ("Emma", "Faust", "Solaris", "Beloved"):
            await client.write(stock_key(title), 3, timeout_s=20)
        async with running(postgres, nodes.addresses) as service:
            await eventually(service, "", lambda titles: titles == ["Emma", "Faust", "Solaris"])
            await client.write(stock_key("Emma"), 0, timeout_s=20)
            await eventually(service, "", lambda titles: titles == ["Faust", "Solaris", "Beloved"])
            await client.write(stock_key("Emma"), 1, timeout_s=20)
            await eventually(service, "", lambda titles: titles == ["Emma", "Faust", "Solaris"])
        await client.close()


async def test_customers_are_not_offered_what_they_bought(postgres: PostgresServer) -> None:
    await store_vectors(postgres, a_line_of("Dune", "Emma", "Faust", "Solaris", "Beloved"))
    await write(postgres, ended(1, ADA, "Emma", "Solaris"))
    async with running(postgres) as service:
        await eventually(service, "b" * 32, lambda titles: titles == ["Emma", "Faust", "Solaris"])
        suggested = await service.suggest("Dune", customer_hash=ADA)
        assert [book.title for book in suggested.books][:2] == ["Faust", "Beloved"]


async def test_malformed_questions_are_refused(postgres: PostgresServer) -> None:
    async with running(postgres) as service:
        stub = suggestions_pb2_grpc.DiscoveryServiceStub(service.channel)  # type: ignore[arg-type]
        for query in ("", "  \t", "x" * 201, "whale\0"):
            with pytest.raises(InvalidArgument):
                await stub.SearchBooks(suggestions_pb2.SearchBooksRequest(query=query, limit=5), timeout=5)
        with pytest.raises(InvalidArgument):
            await stub.SearchBooks(suggestions_pb2.SearchBooksRequest(query="whale", limit=51), timeout=5)
        for titles, limit in ((["x" * 201], 3), (["Dune"] * 101, 3), (["Dune"], 21), (["Dune\0"], 3)):
            with pytest.raises(InvalidArgument):
                await stub.RecommendBooks(suggestions_pb2.RecommendBooksRequest(titles=titles, limit=limit), timeout=5)
