"""A generative model chooses among books that are near already; it can name no other, and may always stay silent."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from utils.domain.order import Book
from utils.generative_ai.client import GenerativeAi
from utils.generative_ai.question import Question

# Titles of a basket that it is told of.
_TITLES_MAX: Final = 20


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ids of candidates, best first."""

    book_ids: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(min_length=1, max_length=20)
    ]


CHOOSE: Final = Question(
    name="suggestions",
    instructions=(
        "You recommend books in a bookshop. You are given the titles in a customer's basket, candidate books, and how"
        " many to choose. Choose the candidates that a reader of the basket will most likely enjoy, best first, of"
        " different authors where you can. Answer with their book_id only; every other id is invalid."
    ),
    answer=Choice,
)


class Chooser:
    """Knows baskets and books, and nothing of customers."""

    def __init__(self, ai: GenerativeAi) -> None:
        self._ai = ai

    async def choose(
        self, titles: Sequence[str], candidates: Sequence[Book], limit: int, *, timeout_s: float
    ) -> tuple[Book, ...]:
        """`limit` of `candidates`: the model's choice, then the others in their order. Raises GenerativeAiError."""
        by_id = {book.book_id: book for book in candidates}
        question = {
            "basket": list(titles[:_TITLES_MAX]),
            "candidates": [
                {"book_id": book.book_id, "title": book.title, "author": book.author} for book in candidates
            ],
            "choose": limit,
        }

        def valid(choice: Choice) -> bool:
            return by_id.keys() >= set(choice.book_ids) and len(set(choice.book_ids)) == len(choice.book_ids)

        choice = await self._ai.ask(CHOOSE, question, timeout_s=timeout_s, valid=valid)
        # Each chosen book leaves, so that the rest are the others.
        chosen = [by_id.pop(book_id) for book_id in choice.book_ids]
        return (*chosen, *by_id.values())[:limit]
