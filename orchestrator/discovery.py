"""What visitors ask while they choose: books for their words, and books for their basket."""

import re
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from orchestrator.ports import BookGuide, FoundBooks, RecommendedBooks
from orchestrator.problems import ComponentUnavailable, QueryInvalid
from utils.domain.order import ITEMS_MAX, TITLE_LENGTH_MAX
from utils.observe.logging import get_logger
from utils.rpc.errors import DeadlineExceeded, ResourceExhausted, Unavailable

log = get_logger()

QUERY_LENGTH_MAX: Final = 200
FOUND_DEFAULT: Final = 20
FOUND_MAX: Final = 50
RECOMMENDED_DEFAULT: Final = 5
RECOMMENDED_MAX: Final = 20
# Questions in progress, each in a request's thread: the others are for orders.
QUESTIONS_MAX: Final = 32

_LIMIT: Final = re.compile(r"0*([1-9][0-9]{0,2})")
_T = TypeVar("_T")


class Discovery:
    """Thread-safe. Its arguments are those of a query string, as they came."""

    def __init__(self, guide: BookGuide) -> None:
        self._guide = guide
        self._questions = threading.BoundedSemaphore(QUESTIONS_MAX)

    def search(self, queries: Sequence[str], limits: Sequence[str]) -> FoundBooks:
        """For one query. Raises QueryInvalid, ComponentUnavailable."""
        if len(queries) != 1 or not _is_line(query := queries[0].strip(), QUERY_LENGTH_MAX):
            raise QueryInvalid(
                f"q should be one text of 1 to {QUERY_LENGTH_MAX} characters, without control characters."
            )
        limit = _limit(limits, FOUND_DEFAULT, FOUND_MAX)
        return self._ask(lambda: self._guide.search(query, limit))

    def recommend(self, titles: Sequence[str], limits: Sequence[str]) -> RecommendedBooks:
        """For the titles in a basket. Raises QueryInvalid, ComponentUnavailable."""
        if not 0 < len(titles) <= ITEMS_MAX or not all(_is_line(title, TITLE_LENGTH_MAX) for title in titles):
            raise QueryInvalid(
                f"title should be given 1 to {ITEMS_MAX} times, each of 1 to {TITLE_LENGTH_MAX} characters."
            )
        limit = _limit(limits, RECOMMENDED_DEFAULT, RECOMMENDED_MAX)
        return self._ask(lambda: self._guide.recommend(titles, limit))

    def _ask(self, question: Callable[[], _T]) -> _T:
        if not self._questions.acquire(blocking=False):
            raise ComponentUnavailable("Too many visitors search at the moment. Please try again.")
        try:
            return question()
        except (Unavailable, DeadlineExceeded, ResourceExhausted) as error:
            log.warning("a visitor's question was not answered", error=error.message)
            raise ComponentUnavailable("Books cannot be searched or recommended at the moment.") from error
        finally:
            self._questions.release()


def _is_line(text: str, length_max: int) -> bool:
    return 0 < len(text) <= length_max and text.isprintable()


def _limit(limits: Sequence[str], default: int, maximum: int) -> int:
    """Raises QueryInvalid."""
    if not limits:
        return default
    match = _LIMIT.fullmatch(limits[0]) if len(limits) == 1 else None
    if match is None or int(match[1]) > maximum:
        raise QueryInvalid(f"limit should be one number from 1 to {maximum}.")
    return int(match[1])
