"""The process: event F after the other five, health that tells the truth, suggestions whatever PostgreSQL does."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from suggestions.book_store import BookStore, text_of
from suggestions.encoder import DIMENSIONS
from suggestions.minilm import MiniLmEncoder
from tests.support.postgres import PostgresServer
from utils.catalogue import load_catalogue
from utils.domain.order import Reason
from utils.pb import suggestions_pb2, suggestions_pb2_grpc, vector_clock_pb2, verification_pb2
from utils.rpc.channel import Channel
from utils.rpc.errors import InvalidArgument, ServiceError
from utils.rpc.server import RpcServer
from utils.verification.events import FRAUD_DETECTION, TRANSACTION_VERIFICATION, Event, events_of
from utils.verification.verification import Step, Verification

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
FINAL_CLOCK = {"orchestrator": 1, TRANSACTION_VERIFICATION: 3, FRAUD_DETECTION: 2, "suggestions": 1}
CAUSE = Reason("fraud", "This looks like fraud.")


@dataclass
class Service:
    """The process under test and its two peers, which are real but judge nothing."""

    process: asyncio.subprocess.Process
    channel: Channel
    peers: dict[str, str]
    verifications: dict[str, Verification]
    runs: int = 0

    async def suggest(
        self, *titles: str, limit: int = 3, failing: Event | None = None
    ) -> suggestions_pb2.SuggestBooksResponse:
        """Takes an order through all six events; or up to `failing`, which is not Event.F."""
        self.runs += 1
        start = verification_pb2.RunStart(
            run_id=verification_pb2.RunId(order_id=f"{self.runs:032x}", run=f"{self.runs:016x}"),
            clock=vector_clock_pb2.VectorClock(entries={"orchestrator": 1}),
            deadline_ms=5_000,
            peers=self.peers,
        )
        request = suggestions_pb2.SuggestBooksRequest(start=start, titles=titles, limit=limit)
        others = [
            verification.perform(
                start, [Step(event, [CAUSE] if event is failing else []) for event in events_of(service)]
            )
            for service, verification in self.verifications.items()
        ]
        stub = suggestions_pb2_grpc.SuggestionsServiceStub(self.channel)  # type: ignore[arg-type]
        performing = asyncio.gather(*others)
        response: suggestions_pb2.SuggestBooksResponse = await stub.SuggestBooks(request, timeout=6)
        await performing
        return response

    async def eventually_healthy(self, status: int) -> None:
        """Returns when the health service says `status`."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        async with asyncio.timeout(20):
            while True:
                try:
                    response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                except ServiceError:
                    pass
                else:
                    if response.status == status:
                        return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(postgres: PostgresServer) -> AsyncIterator[Service]:
    environment = {
        **os.environ,
        "NODE_ID": "suggestions",
        "BIND_HOST": "127.0.0.1",
        "PORT": "0",
        "DATABASE_URL": postgres.dsn,
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "suggestions", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    port = 0
    async with asyncio.timeout(30):
        while not port:
            line = await process.stderr.readline()
            assert line, "the service ended before it served"
            port = json.loads(line).get("port", 0)
    # Its log is read on, so that the pipe never fills.
    draining = asyncio.create_task(process.stderr.read())
    verifications = {name: Verification(name) for name in (TRANSACTION_VERIFICATION, FRAUD_DETECTION)}
    servers = {name: RpcServer("127.0.0.1:0", node_id=name) for name in verifications}
    for name, server in servers.items():
        verifications[name].add_to(server)
        await server.start()
    peers = {name: f"127.0.0.1:{server.port}" for name, server in servers.items()}
    channel = Channel(f"127.0.0.1:{port}")
    try:
        yield Service(process, channel, {**peers, "suggestions": channel.address}, verifications)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await draining
        await channel.close()
        for verification in verifications.values():
            await verification.close()
        for server in servers.values():
            await server.stop(0)


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

    # All vectors are there from an earlier start, but one.
    store = BookStore(postgres.dsn)
    await store.open()
    await store.seed(catalogue, timeout_s=20)
    for index, (book, vector) in enumerate(zip(catalogue, vectors.tolist(), strict=True)):
        if index != missing:
            await store.save_vector(book, vector, timeout_s=20)
    await store.close()

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
            suggestions_pb2.SuggestBooksRequest(limit=21),
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
