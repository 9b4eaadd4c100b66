"""The routes of utils/api/bookstore.yaml: HTTP in, the flow called, JSON out."""

import re
from typing import Any, Final

from flask import Blueprint, Request, Response, g, request

from orchestrator.answers import book_answers, error_answer, json_response, order_answer, order_location
from orchestrator.checkout import Checkout, Ticket
from orchestrator.discovery import Discovery
from orchestrator.json_body import decode_object
from orchestrator.ports import OrderRecord, OrderState
from orchestrator.problems import OrderPending, OrderRejected, UnsupportedMediaType
from orchestrator.readiness import Readiness
from orchestrator.shelf import Shelf

WAIT_S_MAX: Final = 20
_MEDIA_TYPES: Final = ("application/json", "text/plain", "")
_WAIT = re.compile(r"wait=([0-9]{1,3})")


class Routes:
    """The views. `g.order_id` names the order of the request, for the log."""

    def __init__(self, checkout: Checkout, shelf: Shelf, discovery: Discovery, readiness: Readiness) -> None:
        self._checkout = checkout
        self._shelf = shelf
        self._discovery = discovery
        self._readiness = readiness

    def blueprint(self) -> Blueprint:
        routes = Blueprint("bookstore", __name__)
        routes.post("/checkout")(self.checkout)
        routes.post("/v2/checkout")(self.checkout_async)
        routes.get("/v2/orders/<path:order_id>")(self.get_order)
        routes.get("/books")(self.list_books)
        routes.get("/books/search")(self.search_books)
        routes.get("/books/recommendations")(self.recommend_books)
        routes.get("/api/database/stock/<path:book>")(self.get_stock)
        routes.get("/healthz")(self.get_health)
        routes.get("/readyz")(self.get_readiness)
        return routes

    def checkout(self) -> Response:
        ticket, record = self._accepted()
        record = self._checkout.end_of(ticket, record)
        if record.state is OrderState.PENDING:
            raise OrderPending(
                "Your order is accepted and still being processed; you do not need to order again.",
                order_id=record.order_id,
            )
        return json_response(order_answer(record))

    def checkout_async(self) -> Response:
        _, record = self._accepted()
        if record.order is None:
            raise _rejected(record)
        headers = {"Location": order_location(record.order_id)}
        status = 200
        if "respond-async" in _preferences(request):
            status = 202
            headers["Preference-Applied"] = "respond-async"
        # Also for a repetition after the order's end: the same request gets the same answer.
        answer = {"orderId": record.order_id, "status": str(OrderState.PENDING)}
        return json_response(answer, status=status, headers=headers)

    def get_order(self, order_id: str) -> Response:
        return json_response(order_answer(self._checkout.order(order_id, wait_s=_wait_s(request))))

    def list_books(self) -> Response:
        return json_response(self._shelf.books())

    def search_books(self) -> Response:
        found = self._discovery.search(request.args.getlist("q"), request.args.getlist("limit"))
        return json_response({"books": book_answers(found.books), "ranking": found.ranking})

    def recommend_books(self) -> Response:
        recommended = self._discovery.recommend(request.args.getlist("title"), request.args.getlist("limit"))
        return json_response({"books": book_answers(recommended.books), "source": recommended.source})

    def get_stock(self, book: str) -> Response:
        stock = self._shelf.stock(book)
        answer = {"book": book, "stock": stock.stock, "version": stock.version, "reserved": stock.reserved}
        return json_response(answer)

    def get_health(self) -> Response:
        return json_response({"status": "ok"})

    def get_readiness(self) -> Response:
        components = self._readiness.components()
        unready = [name for name, component in components.items() if not component.ready]
        answer: dict[str, Any] = {"ready": not unready, "components": components}
        if not unready:
            return json_response(answer)
        answer |= error_answer("not_ready", f"not ready: {', '.join(unready)}")
        return json_response(answer, status=503, headers={"Retry-After": "1"})

    def _accepted(self) -> tuple[Ticket, OrderRecord]:
        ticket = self._checkout.begin(request.headers.get("Idempotency-Key"))
        g.order_id = ticket.order_id
        return ticket, self._checkout.accept(ticket, _body(request))


def _body(http_request: Request) -> dict[str, Any]:
    """The edge has bounded its size. Raises UnsupportedMediaType, BodyInvalid."""
    if http_request.mimetype not in _MEDIA_TYPES:
        raise UnsupportedMediaType("The body should be application/json (or text/plain that holds JSON).")
    if http_request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("The body should be in UTF-8.")
    if http_request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body should not be compressed.")
    return decode_object(http_request.get_data())


def _preferences(http_request: Request) -> set[str]:
    """RFC 7240, as far as it is used here: names in lower case, `wait=N` with its value."""
    return {part.strip().lower() for part in http_request.headers.get("Prefer", "").split(",")}


def _wait_s(http_request: Request) -> float:
    waits = [int(match[1]) for part in _preferences(http_request) if (match := _WAIT.fullmatch(part))]
    return float(min([*waits, WAIT_S_MAX])) if waits else 0.0


def _rejected(record: OrderRecord) -> OrderRejected:
    """The message names every cause."""
    causes = " ".join(reason.message for reason in record.reasons)
    return OrderRejected(f"Order Rejected: {causes}", reasons=record.reasons, order_id=record.order_id)
