"""SuggestionsService: proto <-> domain."""

import asyncio
from typing import Any

from suggestions.recommender import Recommender, Suggestions
from utils.domain.order import ITEMS_MAX, TITLE_LENGTH_MAX
from utils.observe.logging import get_logger
from utils.pb import suggestions_pb2, suggestions_pb2_grpc
from utils.pb.convert import book_to_proto
from utils.rpc.errors import InvalidArgument
from utils.verification.events import Event
from utils.verification.verification import Step, Verification
from utils.verification.wire import outcome_to_proto

log = get_logger()

SUGGESTIONS_MAX = 20


class SuggestionsServicer(suggestions_pb2_grpc.SuggestionsServiceServicer):
    """Event F: books are suggested once the card or account has passed fraud detection."""

    def __init__(self, verification: Verification, recommender: Recommender) -> None:
        self._verification = verification
        self._recommender = recommender

    async def SuggestBooks(
        self, request: suggestions_pb2.SuggestBooksRequest, context: Any
    ) -> suggestions_pb2.SuggestBooksResponse:
        titles = list(request.titles)
        if len(titles) > ITEMS_MAX or any(len(title) > TITLE_LENGTH_MAX for title in titles):
            raise InvalidArgument(f"at most {ITEMS_MAX} titles of {TITLE_LENGTH_MAX} characters")
        if request.limit > SUGGESTIONS_MAX:
            raise InvalidArgument(f"limit is at most {SUGGESTIONS_MAX}")
        suggestions: Suggestions | None = None
        deadline = asyncio.get_running_loop().time() + request.start.deadline_ms / 1_000

        async def suggest() -> None:
            nonlocal suggestions
            suggestions = await self._recommender.suggest(titles, request.limit, deadline=deadline)

        outcome = await self._verification.perform(request.start, [Step(Event.F, work=suggest)])
        response = suggestions_pb2.SuggestBooksResponse(outcome=outcome_to_proto(outcome))
        if suggestions is not None and not outcome.stopped:
            response.books.extend(book_to_proto(book) for book in suggestions.books)
            response.source = suggestions.source
            log.info(
                "books suggested",
                order_id=request.start.run_id.order_id,
                books=len(suggestions.books),
                source=suggestions.source,
            )
        return response
