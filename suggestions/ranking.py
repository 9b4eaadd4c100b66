"""In which order books are suggested. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from utils.catalogue import CatalogueBook
from utils.domain.order import Book

# Before books by others have had their turn.
BOOKS_BY_AUTHOR_MAX: Final = 2

_BETWEEN_AUTHORS: Final = re.compile(r", | and ")


def on_same_subjects(catalogue: Sequence[CatalogueBook], titles: Iterable[str]) -> tuple[Book, ...]:
    """Other books than `titles`: those that share most subjects with them first, then in the catalogue's order."""
    basket = frozenset(titles)
    subjects = {subject for book in catalogue if book.title in basket for subject in book.subjects}
    others = [book for book in catalogue if book.title not in basket]
    # Sorting is stable: equals keep the catalogue's order.
    others.sort(key=lambda book: -len(subjects.intersection(book.subjects)))
    return tuple(book.book for book in others)


def arranged(books: Sequence[Book], sold_out: Collection[str]) -> tuple[Book, ...]:
    """All of `books`, best first as before, but: what is in stock first, and there no author more often than others.

    `sold_out` are titles. A book beyond BOOKS_BY_AUTHOR_MAX of one of its authors comes after all others in stock.
    """
    seen: Counter[str] = Counter()
    places: dict[Book, tuple[bool, bool]] = {}
    for book in in_stock_first(books, sold_out):
        authors = _BETWEEN_AUTHORS.split(book.author)
        often = any(seen[author] >= BOOKS_BY_AUTHOR_MAX for author in authors)
        if not often:
            seen.update(authors)
        places[book] = (book.title in sold_out, often)
    return tuple(sorted(places, key=places.__getitem__))


def in_stock_first(books: Iterable[Book], sold_out: Collection[str]) -> tuple[Book, ...]:
    """All of `books`; those with titles in `sold_out` last."""
    return tuple(sorted(books, key=lambda book: book.title in sold_out))
