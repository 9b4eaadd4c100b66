"""The process of suggestions beside two peers that take an order through its other events."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from grpc_health.v1 import health_pb2, health_pb2_grpc

from suggestions.book_store import BookStore
from tests.support.postgres import PostgresServer
from utils.catalogue import load_catalogue
from utils.domain.order import Reason
from utils.pb import suggestions_pb2, suggestions_pb2_grpc, vector_clock_pb2, verification_pb2
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError
from utils.rpc.server import RpcServer
from utils.verification.events import FRAUD_DETECTION, TRANSACTION_VERIFICATION, Event, events_of
from utils.verification.verification import Step, Verification

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
# Nobody listens there: stock is not known.
NOWHERE = "127.0.0.1:1"
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
        self, *titles: str, customer_hash: str = "", failing: Event | None = None
    ) -> suggestions_pb2.SuggestBooksResponse:
        """Takes an order through all six events; or up to `failing`, which is not Event.F."""
        self.runs += 1
        start = verification_pb2.RunStart(
            run_id=verification_pb2.RunId(order_id=f"{self.runs:032x}", run=f"{self.runs:016x}"),
            clock=vector_clock_pb2.VectorClock(entries={"orchestrator": 1}),
            deadline_ms=5_000,
            peers=self.peers,
        )
        request = suggestions_pb2.SuggestBooksRequest(start=start, titles=titles, customer_hash=customer_hash, limit=3)
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

    async def search(self, query: str, limit: int = 5) -> suggestions_pb2.SearchBooksResponse:
        stub = suggestions_pb2_grpc.DiscoveryServiceStub(self.channel)  # type: ignore[arg-type]
        request = suggestions_pb2.SearchBooksRequest(query=query, limit=limit)
        response: suggestions_pb2.SearchBooksResponse = await stub.SearchBooks(request, timeout=5)
        return response

    async def recommend(self, *titles: str) -> suggestions_pb2.RecommendBooksResponse:
        stub = suggestions_pb2_grpc.DiscoveryServiceStub(self.channel)  # type: ignore[arg-type]
        request = suggestions_pb2.RecommendBooksRequest(titles=titles, limit=3)
        response: suggestions_pb2.RecommendBooksResponse = await stub.RecommendBooks(request, timeout=5)
        return response

    async def eventually_healthy(self, status: int, part: str = "") -> None:
        """Returns when the health service says `status`."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        async with asyncio.timeout(30):
            while True:
                try:
                    response = await stub.Check(health_pb2.HealthCheckRequest(service=part), timeout=2)
                except ServiceError:
                    pass
                else:
                    if response.status == status:
                        return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(postgres: PostgresServer, db_nodes: Sequence[str] = (NOWHERE,)) -> AsyncIterator[Service]:
    environment = {
        **os.environ,
        "NODE_ID": "suggestions",
        "BIND_HOST": "127.0.0.1",
        "PORT": "0",
        "DATABASE_URL": postgres.dsn,
        "DB_NODES": ",".join(db_nodes),
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


async def store_vectors(postgres: PostgresServer, vectors: Mapping[str, Sequence[float]]) -> None:
    """As an earlier start has left them: by the titles of the catalogue's books."""
    catalogue = load_catalogue()
    store = BookStore(postgres.dsn)
    await store.open()
    await store.seed(catalogue, timeout_s=20)
    for book in catalogue:
        if book.title in vectors:
            await store.save_vector(book, vectors[book.title], timeout_s=20)
    await store.close()
