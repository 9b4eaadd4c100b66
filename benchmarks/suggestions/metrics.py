"""How good a list of books is, against the ones that were expected. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

# How many books of a list count: about as many as a customer looks at.
CUT: Final = 5


@dataclass(frozen=True)
class Quality:
    """Means over many lists, each from 0 to 1."""

    recall_at_5: float
    # Mean reciprocal rank of the first expected book; 0 where none is in the list.
    mrr: float


def recall_at_5(books: Sequence[str], expected: Collection[str]) -> float:
    """Of the expected books, as many as fit into five, how many are among the first five."""
    return len({*books[:CUT]} & {*expected}) / min(CUT, len(expected))


def reciprocal_rank(books: Sequence[str], expected: Collection[str]) -> float:
    """1 where the first book was expected, 1/2 where the second is the first such one, and so on."""
    return next((1 / rank for rank, book in enumerate(books, 1) if book in expected), 0.0)


def quality(lists: Sequence[tuple[Sequence[str], Collection[str]]]) -> Quality:
    """Of lists of book ids, each with those that were expected."""
    return Quality(
        fmean(recall_at_5(books, expected) for books, expected in lists),
        fmean(reciprocal_rank(books, expected) for books, expected in lists),
    )
