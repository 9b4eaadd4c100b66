"""The catalogue: one data file that feeds the database cluster (stock, prices) and PostgreSQL (books, vectors)."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import msgspec

from utils.domain.order import QUANTITY_MAX, TITLE_LENGTH_MAX, Book

__all__ = ["BOOKS_FILE", "CatalogueBook", "CatalogueError", "load_catalogue"]

BOOKS_FILE: Final = Path(__file__).with_name("books.json")

_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_LENGTH_MAX, pattern=r"^\S(.*\S)?$")]


class CatalogueError(Exception):
    """The data file is wrong; the message says which file and why."""


class CatalogueBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A book as the shop knows it before the first sale. Orders, stock and prices name it by its title."""

    book_id: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: _Line
    author: _Line
    year: Annotated[int, msgspec.Meta(ge=-3000, le=2100)]
    price_cents: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    stock: Annotated[int, msgspec.Meta(ge=0, le=QUANTITY_MAX)]
    subjects: Annotated[tuple[_Line, ...], msgspec.Meta(min_length=1, max_length=8)]
    description: Annotated[str, msgspec.Meta(min_length=40, max_length=600)]

    @property
    def book(self) -> Book:
        """What an order or a suggestion says about it."""
        return Book(self.book_id, self.title, self.author)


def load_catalogue(path: Path = BOOKS_FILE) -> tuple[CatalogueBook, ...]:
    """Every book, in the file's order; ids and titles are unique. Raises CatalogueError."""
    try:
        books = msgspec.json.decode(path.read_bytes(), type=tuple[CatalogueBook, ...])
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise CatalogueError(f"{path} is not a catalogue: {error}") from error
    for what, values in (("book_id", (book.book_id for book in books)), ("title", (book.title for book in books))):
        value, times = Counter(values).most_common(1)[0] if books else ("", 0)
        if times > 1:
            raise CatalogueError(f"{path} has {times} books with the {what} {value!r}")
    return books
