"""An orchestrator whose answers a test chooses, over real HTTP with CORS, as utils/api/bookstore.yaml describes it."""

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from utils.catalogue import load_catalogue

# A shelf that does not grow with the shop's.
BOOKS = load_catalogue()[:40]
ORDER_ID = "4f1d2c3b4a5968778695a4b3c2d1e0f1"
PENDING = {"orderId": ORDER_ID, "status": "PENDING", "suggestedBooks": [], "reasons": [], "riskScore": 3}
APPROVED = {
    **PENDING,
    "status": "Order Approved",
    "confirmationCode": "PAY-7K2Q-9XMD",
    "amountCents": 4200,
    "suggestedBooks": [
        {"bookId": "dune", "title": "Dune", "author": "Frank Herbert"},
        {"bookId": "foundation", "title": "Foundation", "author": "Isaac Asimov"},
    ],
}


def rejected(*reasons: tuple[str, str, str]) -> dict[str, Any]:
    """An order's state after a rejection for `(code, message, field)`."""
    return {**PENDING, "status": "Order Rejected", "reasons": reason_objects(*reasons)}


def refusal(code: str, message: str, *reasons: tuple[str, str, str]) -> dict[str, Any]:
    """The body of an error."""
    error: dict[str, Any] = {"code": code, "message": message}
    if reasons:
        error["reasons"] = reason_objects(*reasons)
    return {"error": error}


def reason_objects(*reasons: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"code": code, "message": message, "field": pointer} for code, message, pointer in reasons]


@dataclass
class Posted:
    """A checkout as it arrived."""

    key: str
    body: dict[str, Any]


@dataclass
class FakeOrchestrator:
    """What it answers, and what it was asked. `order_states` ends with the state that stays."""

    checkout_answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    order_states: list[dict[str, Any]] = field(default_factory=lambda: [PENDING, APPROVED])
    stock: dict[str, int] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)
    # Titles that are found for a query, and how; what is not here finds nothing.
    found: dict[str, list[str]] = field(default_factory=dict)
    ranking: str = "semantic"
    # Titles that are recommended for any basket, less its own.
    recommended: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    baskets: list[list[str]] = field(default_factory=list)
    # Search and recommendations answer 503.
    guide_away: bool = False
    # Queries whose answers wait until the test lets them go.
    held: dict[str, threading.Event] = field(default_factory=dict)
    # Hang up in place of an answer to a checkout: after it was read.
    hang_up: int = 0
    # Orders stay pending until this is set.
    may_end: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def start(self) -> None:
        """On a port of its own, or on the one that it had before."""
        fake = self

        class Handler(_Handler):
            orchestrator = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def books(self) -> dict[str, Any]:
        return {
            "staleMs": 20,
            "books": [
                {
                    "bookId": book.book_id,
                    "title": book.title,
                    "author": book.author,
                    "year": book.year,
                    "subjects": list(book.subjects),
                    "description": book.description,
                    "priceCents": book.price_cents,
                    "stock": self.stock.get(book.title, book.stock),
                    "version": 1,
                }
                for book in BOOKS
            ],
        }

    def search(self, query: str) -> tuple[int, dict[str, Any]]:
        self.searches.append(query)
        if query in self.held:
            self.held[query].wait(20)
        if self.guide_away:
            return 503, refusal("unavailable", "Books cannot be searched or recommended at the moment.")
        return 200, {"books": _named(self.found.get(query, [])), "ranking": self.ranking}

    def recommend(self, titles: list[str], limit: int) -> tuple[int, dict[str, Any]]:
        self.baskets.append(titles)
        if self.guide_away:
            return 503, refusal("unavailable", "Books cannot be searched or recommended at the moment.")
        books = _named([title for title in self.recommended if title not in titles][:limit])
        return 200, {"books": books, "source": "vectors"}

    def order(self) -> dict[str, Any]:
        """The next state; the last one stays."""
        if not self.may_end.is_set():
            return PENDING
        return self.order_states.pop(0) if len(self.order_states) > 1 else self.order_states[0]


def _named(titles: list[str]) -> list[dict[str, str]]:
    books = {book.title: book for book in BOOKS}
    return [
        {"bookId": book.book_id, "title": book.title, "author": book.author} for book in map(books.__getitem__, titles)
    ]


class _Handler(BaseHTTPRequestHandler):
    orchestrator: FakeOrchestrator
    # One request to a connection: a stopped orchestrator has none left open.
    protocol_version = "HTTP/1.0"

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.send_header("Access-Control-Allow-Methods", "GET, POST")
        self.send_header("Access-Control-Allow-Headers", "Content-Type, Idempotency-Key")
        self.end_headers()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/books":
            self._answer(200, self.orchestrator.books())
        elif url.path == "/books/search":
            self._answer(*self.orchestrator.search(query["q"][0]))
        elif url.path == "/books/recommendations":
            self._answer(*self.orchestrator.recommend(query["title"], int(query["limit"][0])))
        elif self.path == f"/v2/orders/{ORDER_ID}":
            self._answer(200, self.orchestrator.order())
        else:
            self._answer(404, refusal("not_found", "There is nothing here."))

    def do_POST(self) -> None:
        assert self.path == "/v2/checkout"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.orchestrator.posted.append(Posted(self.headers["Idempotency-Key"], body))
        if self.orchestrator.hang_up:
            self.orchestrator.hang_up -= 1
            self.close_connection = True
            return
        accepted = (200, {"orderId": ORDER_ID, "status": "PENDING"})
        self._answer(*(self.orchestrator.checkout_answers.pop(0) if self.orchestrator.checkout_answers else accepted))

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        # A browser that cancels its request does not read the answer.
        with contextlib.suppress(ConnectionError):
            self._send(status, body)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Tests do not talk."""
