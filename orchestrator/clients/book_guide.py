"""Books for a visitor's words or basket, from suggestions over gRPC."""

from collections.abc import Sequence
from typing import Final

from orchestrator.ports import FoundBooks, RecommendedBooks
from utils.pb import suggestions_pb2, suggestions_pb2_grpc
from utils.pb.convert import book_from_proto
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel

# The encoder and PostgreSQL have bounds of their own, below this.
TIMEOUT_S: Final = 2.0


class BookGuideClient:
    """Serves `orchestrator.ports.BookGuide`."""

    def __init__(self, runtime: BlockingRuntime, address: str) -> None:
        self._runtime = runtime
        runtime.run(self._open(address))

    async def _open(self, address: str) -> None:
        self._channel = Channel(address)
        self._stub = suggestions_pb2_grpc.DiscoveryServiceStub(self._channel)  # type: ignore[arg-type]

    def search(self, query: str, limit: int) -> FoundBooks:
        return self._runtime.run(self._search(query, limit))

    def recommend(self, titles: Sequence[str], limit: int) -> RecommendedBooks:
        return self._runtime.run(self._recommend(titles, limit))

    def close(self) -> None:
        self._runtime.run(self._channel.close())

    async def _search(self, query: str, limit: int) -> FoundBooks:
        request = suggestions_pb2.SearchBooksRequest(query=query, limit=limit)
        response = await self._stub.SearchBooks(request, timeout=TIMEOUT_S)
        return FoundBooks(tuple(book_from_proto(book) for book in response.books), response.ranking)

    async def _recommend(self, titles: Sequence[str], limit: int) -> RecommendedBooks:
        request = suggestions_pb2.RecommendBooksRequest(titles=titles, limit=limit)
        response = await self._stub.RecommendBooks(request, timeout=TIMEOUT_S)
        return RecommendedBooks(tuple(book_from_proto(book) for book in response.books), response.source)
