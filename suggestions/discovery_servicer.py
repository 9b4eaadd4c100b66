"""DiscoveryService: proto <-> domain."""

from collections.abc import Sequence
from typing import Any, Final

from suggestions.book_store import StoreUnavailableError
from suggestions.recommender import Recommender
from suggestions.searcher import Searcher
from utils.domain.order import ITEMS_MAX, TITLE_LENGTH_MAX
from utils.pb import suggestions_pb2, suggestions_pb2_grpc
from utils.pb.convert import book_to_proto
from utils.rpc.errors import InvalidArgument, Unavailable

SUGGESTIONS_MAX: Final = 20
FOUND_MAX: Final = 50
QUERY_LENGTH_MAX: Final = 200


class DiscoveryServicer(suggestions_pb2_grpc.DiscoveryServiceServicer):
    """What visitors ask while they choose."""

    def __init__(self, recommender: Recommender, searcher: Searcher) -> None:
        self._recommender = recommender
        self._searcher = searcher

    async def RecommendBooks(
        self, request: suggestions_pb2.RecommendBooksRequest, context: Any
    ) -> suggestions_pb2.RecommendBooksResponse:
        titles = list(request.titles)
        check_question(titles, request.limit)
        suggestions = await self._recommender.recommend(titles, request.limit)
        return suggestions_pb2.RecommendBooksResponse(
            books=[book_to_proto(book) for book in suggestions.books], source=suggestions.source
        )

    async def SearchBooks(
        self, request: suggestions_pb2.SearchBooksRequest, context: Any
    ) -> suggestions_pb2.SearchBooksResponse:
        if not request.query.strip() or len(request.query) > QUERY_LENGTH_MAX or "\0" in request.query:
            raise InvalidArgument(f"query has 1 to {QUERY_LENGTH_MAX} characters, not all of them spaces, and no NUL")
        if request.limit > FOUND_MAX:
            raise InvalidArgument(f"limit is at most {FOUND_MAX}")
        try:
            found = await self._searcher.search(request.query, request.limit)
        except StoreUnavailableError as error:
            raise Unavailable("the books cannot be searched at the moment") from error
        return suggestions_pb2.SearchBooksResponse(
            books=[book_to_proto(book) for book in found.books], ranking=found.ranking
        )


def check_question(titles: Sequence[str], limit: int) -> None:
    """Raises InvalidArgument unless books can be suggested for these titles."""
    if len(titles) > ITEMS_MAX or any(len(title) > TITLE_LENGTH_MAX or "\0" in title for title in titles):
        raise InvalidArgument(f"at most {ITEMS_MAX} titles of {TITLE_LENGTH_MAX} characters, and no NUL")
    if limit > SUGGESTIONS_MAX:
        raise InvalidArgument(f"limit is at most {SUGGESTIONS_MAX}")
