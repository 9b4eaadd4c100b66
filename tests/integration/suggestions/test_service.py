"""The process: event F after the other five, health that tells the truth, suggestions whatever PostgreSQL does."""

import asyncio
import os
import signal
import sys

import numpy as np
import pytest

from suggestions.book_store import text_of
from suggestions.encoder import DIMENSIONS
from suggestions.minilm import MiniLmEncoder
from tests.integration.suggestions.service_process import NOT_SERVING, SERVING, running, store_vectors
from tests.support.postgres import PostgresServer
from utils.catalogue import load_catalogue
from utils.pb import suggestions_pb2, suggestions_pb2_grpc, verification_pb2
from utils.rpc.errors import InvalidArgument
from utils.verification.events import FRAUD_DETECTION, TRANSACTION_VERIFICATION, Event

FINAL_CLOCK = {"orchestrator": 1, TRANSACTION_VERIFICATION: 3, FRAUD_DETECTION: 2, "suggestions": 1}


async def test_books_come_from_vectors_after_every_other_event(postgres: PostgresServer) -> None:
    catalogue = load_catalogue()
    position = {book.title: index for index, book in enumerate(catalogue)}
    # Chance's vectors for all, but "Solaris" has its own, and the basket's are not far from that.
    vectors = np.random.default_rng(1).normal(size=(len(catalogue), DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    missing = position["Solaris"]
    vectors[missing] = MiniLmEncoder().encode([text_of(catalogue[missing])])[0]
    basket = [position["Dune"], position["Foundation"]]
    vectors[basket] += vectors[missing]
    scores = vectors @ vectors[basket].mean(axis=0)
    scores[basket] = -np.inf
    nearest = [catalogue[index].title for index in np.argsort(-scores)[:3]]
    assert nearest[0] == "Solaris"

    stored = {book.title: vector for book, vector in zip(catalogue, vectors.tolist(), strict=True)}
    del stored["Solaris"]
    await store_vectors(postgres, stored)

    async with running(postgres) as service:
        await service.eventually_healthy(SERVING)
        async with asyncio.timeout(60):
            titles: list[str] = []
            while titles != nearest:
                response = await service.suggest("Dune", "Foundation")
                titles = [book.title for book in response.books]
                # The encoder takes only the time that nobody else wants.
                await asyncio.sleep(0.1)
        assert response.source == "vectors"
        assert dict(response.outcome.clock.entries) == FINAL_CLOCK
        assert list(response.outcome.events) == [verification_pb2.EVENT_F]
        assert not response.outcome.stopped


async def test_failed_event_stops_suggestions(postgres: PostgresServer) -> None:
    async with running(postgres) as service:
        response = await service.suggest("Dune", failing=Event.E)
        assert response.outcome.stopped
        assert list(response.outcome.events) == []
        assert list(response.books) == []


async def test_orders_get_suggestions_while_the_database_is_away_and_health_tells(postgres: PostgresServer) -> None:
    postgres.stop()
    async with running(postgres) as service:
        await service.eventually_healthy(NOT_SERVING)
        response = await service.suggest("Dune")
        assert (response.source, len(response.books)) == ("static", 3)
        assert dict(response.outcome.clock.entries) == FINAL_CLOCK
        postgres.start()
        await service.eventually_healthy(SERVING)
        postgres.stop()
        await service.eventually_healthy(NOT_SERVING)
        assert len((await service.suggest("Emma")).books) == 3


async def test_malformed_requests_are_refused(postgres: PostgresServer) -> None:
    async with running(postgres) as service:
        stub = suggestions_pb2_grpc.SuggestionsServiceStub(service.channel)  # type: ignore[arg-type]
        for request in (
            suggestions_pb2.SuggestBooksRequest(titles=["Dune"], limit=3),
            suggestions_pb2.SuggestBooksRequest(titles=["x" * 201]),
            suggestions_pb2.SuggestBooksRequest(titles=["Dune"] * 101),
            suggestions_pb2.SuggestBooksRequest(titles=["Dune\0"]),
            suggestions_pb2.SuggestBooksRequest(limit=21),
            suggestions_pb2.SuggestBooksRequest(customer_hash="ada@example.com"),
        ):
            with pytest.raises(InvalidArgument):
                await stub.SuggestBooks(request, timeout=5)


@pytest.mark.parametrize("paused", [False, True], ids=["database answers", "database hangs"])
async def test_signal_ends_the_process_cleanly(postgres: PostgresServer, paused: bool) -> None:
    async with running(postgres) as service:
        await service.eventually_healthy(SERVING)
        if paused:
            postgres.pause()
        service.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(8):
                assert await service.process.wait() == 0
        finally:
            if paused:
                postgres.resume()


async def test_missing_variable_is_named() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "suggestions", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert b"DATABASE_URL is not set" in stderr
