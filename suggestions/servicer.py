"""SuggestionsService: proto <-> domain."""

import asyncio
import re
from typing import Any, Final

from suggestions.discovery_servicer import check_question
from suggestions.recommender import Recommender, Suggestions
from utils.observe.logging import get_logger
from utils.pb import suggestions_pb2, suggestions_pb2_grpc
from utils.pb.convert import book_to_proto
from utils.rpc.errors import InvalidArgument
from utils.verification.events import Event
from utils.verification.verification import Step, Verification
from utils.verification.wire import outcome_to_proto

log = get_logger()

_CUSTOMER_HASH: Final = re.compile(r"([0-9a-f]{32})?")


class SuggestionsServicer(suggestions_pb2_grpc.SuggestionsServiceServicer):
    """Event F: books are suggested once the card or account has passed fraud detection."""

    def __init__(self, verification: Verification, recommender: Recommender) -> None:
        self._verification = verification
        self._recommender = recommender

    async def SuggestBooks(
        self, request: suggestions_pb2.SuggestBooksRequest, context: Any
    ) -> suggestions_pb2.SuggestBooksResponse:
        titles = list(request.titles)
        check_question(titles, request.limit)
        if not _CUSTOMER_HASH.fullmatch(request.customer_hash):
            raise InvalidArgument("customer_hash has 32 hexadecimal digits")
        suggestions: Suggestions | None = None
        deadline = asyncio.get_running_loop().time() + request.start.deadline_ms / 1_000

        async def suggest() -> None:
            nonlocal suggestions
            suggestions = await self._recommender.suggest(
                titles, request.limit, customer_hash=request.customer_hash, deadline=deadline
            )

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
