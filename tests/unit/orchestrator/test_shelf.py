import threading
from collections.abc import Iterator

import pytest

from orchestrator.ports import Snapshot, Stock
from orchestrator.problems import BookNotFound, ComponentUnavailable
from orchestrator.shelf import Shelf
from tests.unit.orchestrator.fakes import FakeDatabase
from utils.catalogue import CatalogueBook
from utils.rpc.errors import Unavailable

CATALOGUE = tuple(
    CatalogueBook(f"book-{letter.lower()}", f"Book {letter}", "An Author", 1999, 1, 1, ("fiction",), "words " * 10)
    for letter in "ABC"
)
GONE = Unavailable("gone")


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase(
        {"Book A": 1000, "Book B": 250, "Not in the catalogue": 1},
        {"Book A": Stock(9, 3, 2), "Book B": Stock(0, 1, 0), "Not in the catalogue": Stock(1, 1, 0)},
    )


@pytest.fixture
def shelf(database: FakeDatabase) -> Shelf:
    return Shelf(database, CATALOGUE)


def test_a_price_is_known_without_asking_again(shelf: Shelf, database: FakeDatabase) -> None:
    shelf.refresh()
    assert [shelf.price_cents("Book A"), shelf.price_cents("Book B")] == [1000, 250]
    assert database.reads == ["snapshot"]


def test_a_title_that_is_not_on_the_shelf_is_confirmed_by_the_primary(shelf: Shelf, database: FakeDatabase) -> None:
    shelf.refresh()
    database.prices_cents["Book C"] = 700
    assert shelf.price_cents("Book C") == 700
    assert shelf.price_cents("Nobody wrote this") is None
    assert database.reads == ["snapshot", "price Book C", "price Nobody wrote this"]


def test_a_book_of_the_catalogue_without_a_price_is_no_unknown_book(shelf: Shelf) -> None:
    with pytest.raises(ComponentUnavailable):
        shelf.price_cents("Book C")


def test_the_shelf_is_ready_once_every_book_is_on_it(shelf: Shelf, database: FakeDatabase) -> None:
    assert not shelf.component().ready
    shelf.refresh()
    assert shelf.component().detail.startswith("2 of 3")
    assert not shelf.component().ready
    database.prices_cents["Book C"], database.stocks["Book C"] = 1, Stock(0, 1, 0)
    shelf.refresh()
    assert shelf.component().ready


def test_a_price_that_cannot_be_read_is_unavailable_and_not_unknown(shelf: Shelf, database: FakeDatabase) -> None:
    shelf.refresh()
    database.failure = GONE
    assert shelf.price_cents("Book A") == 1000
    with pytest.raises(ComponentUnavailable):
        shelf.price_cents("Book C")


def test_books_are_the_catalogue_with_prices_and_stock(shelf: Shelf) -> None:
    shelf.refresh()
    answer = shelf.books()
    assert [book["title"] for book in answer["books"]] == ["Book A", "Book B"]
    first = answer["books"][0]
    assert (first["bookId"], first["priceCents"], first["stock"], first["version"]) == ("book-a", 1000, 9, 3)
    assert answer["staleMs"] >= 5


def test_an_unknown_age_stays_unknown(shelf: Shelf, database: FakeDatabase) -> None:
    database.stale_ms = None
    shelf.refresh()
    assert shelf.books()["staleMs"] is None


def test_there_are_no_books_before_the_first_reading(shelf: Shelf) -> None:
    with pytest.raises(ComponentUnavailable):
        shelf.books()


def test_stock_is_read_from_the_primary_each_time(shelf: Shelf, database: FakeDatabase) -> None:
    assert shelf.stock("Book A") == Stock(9, 3, 2)
    database.stocks["Book A"] = Stock(8, 4, 0)
    assert shelf.stock("Book A").version == 4
    with pytest.raises(BookNotFound):
        shelf.stock("Nobody wrote this")
    database.failure = GONE
    with pytest.raises(ComponentUnavailable):
        shelf.stock("Book A")


@pytest.mark.parametrize("title", ["", "a" * 201, "a\nb", "a\0b"])
def test_what_is_no_title_reaches_nobody(shelf: Shelf, database: FakeDatabase, title: str) -> None:
    with pytest.raises(BookNotFound):
        shelf.stock(title)
    assert database.reads == []


@pytest.fixture
def monitored(database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Shelf, threading.Semaphore]]:
    """A shelf that refreshes as fast as it can, and a count of its tries."""
    monkeypatch.setattr("orchestrator.shelf.REFRESH_INTERVAL_S", 0.001)
    tried = threading.Semaphore(0)
    read = database.snapshot

    def snapshot() -> Snapshot:
        try:
            return read()
        finally:
            tried.release()

    monkeypatch.setattr(database, "snapshot", snapshot)
    shelf = Shelf(database, CATALOGUE)
    shelf.start()
    yield shelf, tried
    shelf.close()


def test_the_shelf_follows_the_database_through_its_absence(
    database: FakeDatabase, monitored: tuple[Shelf, threading.Semaphore]
) -> None:
    shelf, tried = monitored
    assert tried.acquire(timeout=5)
    database.failure = GONE
    _tries(tried, 3)
    assert shelf.price_cents("Book A") == 1000
    database.prices_cents["Book A"] = 1100
    database.failure = None
    # The third try from now began after the change, and the second ended.
    _tries(tried, 3)
    assert shelf.price_cents("Book A") == 1100


def _tries(tried: threading.Semaphore, count: int) -> None:
    while tried.acquire(blocking=False):
        pass
    for _ in range(count):
        assert tried.acquire(timeout=5)
