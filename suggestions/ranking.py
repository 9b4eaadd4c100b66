"""What to suggest when there are no vectors to ask: books on the same subjects. Pure."""

from collections.abc import Iterable, Sequence

from utils.catalogue import CatalogueBook
from utils.domain.order import Book


def on_same_subjects(catalogue: Sequence[CatalogueBook], titles: Iterable[str], limit: int) -> tuple[Book, ...]:
    """Other books than `titles`: those that share most subjects with them first, then in the catalogue's order."""
    basket = frozenset(titles)
    subjects = {subject for book in catalogue if book.title in basket for subject in book.subjects}
    others = [book for book in catalogue if book.title not in basket]
    # Sorting is stable: equals keep the catalogue's order.
    others.sort(key=lambda book: -len(subjects.intersection(book.subjects)))
    return tuple(book.book for book in others[:limit])
