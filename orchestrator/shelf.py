"""Prices and stock of the database cluster, refreshed in the background, so that no checkout waits for them."""

import threading
import time
from typing import Any, Final

from orchestrator.ports import Database, Snapshot, Stock
from orchestrator.problems import BookNotFound, ComponentUnavailable
from orchestrator.readiness import Component
from utils.catalogue import CatalogueBook
from utils.domain.order import TITLE_LENGTH_MAX
from utils.observe.logging import get_logger
from utils.rpc.errors import ServiceError

log = get_logger()

REFRESH_INTERVAL_S: Final = 1.0
_UNAVAILABLE = "The database is not available; nothing was ordered. Please try again."


class Shelf:
    """Thread-safe: a snapshot is replaced as a whole, by one thread."""

    def __init__(self, database: Database, catalogue: tuple[CatalogueBook, ...]) -> None:
        self._database = database
        self._catalogue = catalogue
        self._titles = frozenset(book.title for book in catalogue)
        self._snapshot: Snapshot | None = None
        self._read_at = 0.0
        self._closing = threading.Event()
        self._refresher = threading.Thread(target=self._keep_refreshing, name="shelf", daemon=True)

    def start(self) -> None:
        """Refreshes from now on, in a thread of its own."""
        self._refresher.start()

    def close(self) -> None:
        self._closing.set()
        self._refresher.join()

    def refresh(self) -> None:
        """Reads the database once. Raises ServiceError."""
        read_at = time.monotonic()
        snapshot = self._database.snapshot()
        self._snapshot, self._read_at = snapshot, read_at

    def price_cents(self, title: str) -> int | None:
        """None for a book that is not for sale. Raises ComponentUnavailable.

        Only a linearizable read can say that, and of a book of the catalogue only that it has no price yet.
        """
        if self._snapshot is not None and (price := self._snapshot.prices_cents.get(title)) is not None:
            return price
        try:
            price = self._database.price_cents(title)
        except ServiceError as error:
            log.warning("a price could not be read", title=title, error=error.message)
            raise ComponentUnavailable(_UNAVAILABLE) from error
        if price is None and title in self._titles:
            raise ComponentUnavailable("The shop is not open yet; nothing was ordered. Please try again.")
        return price

    def stock(self, title: str) -> Stock:
        """Linearizable. Raises BookNotFound, ComponentUnavailable."""
        if not title.isprintable() or not 0 < len(title) <= TITLE_LENGTH_MAX:
            raise BookNotFound("No book has such a title.")
        try:
            stock = self._database.stock(title)
        except ServiceError as error:
            raise ComponentUnavailable("The database is not available. Please try again.") from error
        if stock is None:
            raise BookNotFound("There is no book with this title.")
        return stock

    def component(self) -> Component:
        """Ready once every book of the catalogue has a price and a stock."""
        snapshot = self._snapshot or Snapshot({}, {}, None)
        shelved = len(self._titles & snapshot.prices_cents.keys() & snapshot.stock.keys())
        detail = f"{shelved} of {len(self._titles)} books have a price and a stock"
        return Component(ready=shelved == len(self._titles), detail=detail)

    def books(self) -> dict[str, Any]:
        """The catalogue with prices and stock, as JSON has it. Raises ComponentUnavailable before the first reading."""
        snapshot, read_at = self._snapshot, self._read_at
        if snapshot is None:
            raise ComponentUnavailable("Prices and stock have not been read yet. Please try again.")
        stale_ms = None
        if snapshot.stale_ms is not None:
            stale_ms = snapshot.stale_ms + round((time.monotonic() - read_at) * 1_000)
        books = [
            {
                "bookId": book.book_id,
                "title": book.title,
                "author": book.author,
                "year": book.year,
                "subjects": book.subjects,
                "description": book.description,
                "priceCents": snapshot.prices_cents[book.title],
                "stock": snapshot.stock[book.title].stock,
                "version": snapshot.stock[book.title].version,
            }
            for book in self._catalogue
            if book.title in snapshot.prices_cents and book.title in snapshot.stock
        ]
        return {"books": books, "staleMs": stale_ms}

    def _keep_refreshing(self) -> None:
        failing = False
        while not self._closing.is_set():
            try:
                self.refresh()
            except ServiceError as error:
                if not failing:
                    log.warning("prices and stock cannot be refreshed", error=error.message)
                failing = True
            else:
                if failing:
                    log.info("prices and stock are refreshed again")
                failing = False
            self._closing.wait(REFRESH_INTERVAL_S)
