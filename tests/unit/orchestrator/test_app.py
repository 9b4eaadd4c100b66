from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from orchestrator.app import create_app
from orchestrator.checkout import Checkout, Limits
from orchestrator.discovery import Discovery
from orchestrator.identity import Identities
from orchestrator.ports import OrderState, Stock
from orchestrator.readiness import NodeStatus, Probed, Readiness
from orchestrator.shelf import Shelf
from orchestrator.verification import Verdict
from tests.unit.orchestrator.api import check_answer
from tests.unit.orchestrator.fakes import FakeDatabase, FakeGuide, FakeQueue, FakeStories, body, fail_first
from tests.unit.orchestrator.test_checkout import PASSED, FakeVerifier
from utils.catalogue import CatalogueBook
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import Reason
from utils.rpc.errors import Internal, ResourceExhausted, Unavailable

GONE = Unavailable("gone")
PAGE = "http://localhost:8080"
FRAUD = Verdict((Reason("fraud_domain", "We suspect fraud.", "/user/contact"),), 95, VectorClock(), None, ())
LEADER = NodeStatus("n1", "leader", 1, "n1", ready=True)


class Shop:
    """The application with everything behind it in memory."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.verifier = FakeVerifier(PASSED)
        self.database = FakeDatabase(
            {"Book A": 1000, "Book B": 250}, {"Book A": Stock(9, 3, 2), "A/B?": Stock(1, 1, 0)}
        )
        self.stories = FakeStories()
        self.probed = Probed({"order_queue": [LEADER]}, {"payment": ""})
        book = CatalogueBook("book-a", "Book A", "An Author", 1999, 1, 1, ("fiction",), "words " * 10)
        self.shelf = Shelf(self.database, (book,))
        self.shelf.refresh()
        self.guide = FakeGuide()
        checkout = Checkout(
            identities=Identities("a secret of some length"),
            prices=self.shelf,
            verifier=self.verifier,
            queue=self.queue,
            limits=Limits(wait_s=0.1, accept_s=0.1),
        )
        readiness = Readiness(lambda: self.probed, {"order_queue": 1}, self.shelf.component)
        self.app: Flask = create_app(
            checkout, self.shelf, Discovery(self.guide), self.stories, readiness, cors_origins=[PAGE]
        )
        self.client: FlaskClient = self.app.test_client()

    def post(self, path: str = "/checkout", *, headers: dict[str, str] | None = None, **changes: Any) -> Response:
        return self.checked("post", path, self.client.post(path, json=body(**changes), headers=headers))

    def get(self, path: str, described: str | None = None, **headers: str) -> Response:
        return self.checked("get", described or path, self.client.get(path, headers=headers))

    @staticmethod
    def checked(method: str, path: str, response: Any) -> Response:
        """Every answer that a test sees is one that the description names."""
        check_answer(method, path, response)
        answer: Response = response
        return answer


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_checkout_answers_with_the_order_s_end(shop: Shop) -> None:
    answer = shop.post()
    assert answer.status_code == 200
    told = answer.get_json()
    assert told == {
        "orderId": told["orderId"],
        "status": "Order Approved",
        "suggestedBooks": [{"bookId": "book-c", "title": "Book C", "author": "C. Author"}],
        "reasons": [],
        "riskScore": 7,
        "confirmationCode": "OK-1",
        "amountCents": 1999,
        "clock": {"orchestrator": 1},
    }


def test_the_page_s_way_of_posting_is_understood(shop: Shop) -> None:
    answer = shop.client.post(
        "/checkout",
        data=shop.app.json.dumps(body()),
        content_type="text/plain;charset=UTF-8",
        headers={"Origin": PAGE},
    )
    check_answer("post", "/checkout", answer)  # type: ignore[arg-type]
    assert answer.get_json()["status"] == "Order Approved"
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_checkout_tells_a_rejection_with_every_reason(shop: Shop) -> None:
    shop.verifier.verdict = FRAUD
    answer = shop.post()
    assert answer.status_code == 200
    told = answer.get_json()
    assert (told["status"], told["suggestedBooks"], told["riskScore"]) == ("Order Rejected", [], 95)
    assert told["reasons"] == [{"code": "fraud_domain", "message": "We suspect fraud.", "field": "/user/contact"}]


def test_a_rejection_after_acceptance_suggests_nothing(shop: Shop) -> None:
    out_of_stock = (Reason("out_of_stock", "Sold out."),)
    shop.queue.on_wait = lambda record: shop.queue.end(  # type: ignore[method-assign]
        record.order_id, OrderState.REJECTED, reasons=out_of_stock
    )
    told = shop.post().get_json()
    assert (told["status"], told["suggestedBooks"], told["amountCents"]) == ("Order Rejected", [], 1999)


def test_an_order_that_takes_longer_is_told_as_pending(shop: Shop) -> None:
    shop.queue.on_wait = lambda record: None  # type: ignore[method-assign]
    answer = shop.post()
    assert answer.status_code == 504
    told = answer.get_json()
    assert told["error"]["code"] == "order_pending"
    assert answer.headers["Location"] == f"/v2/orders/{told['orderId']}"
    assert shop.get(answer.headers["Location"], "/v2/orders/{orderId}").get_json()["status"] == "PENDING"


def test_the_asynchronous_checkout_answers_at_once(shop: Shop) -> None:
    answer = shop.post("/v2/checkout")
    told = answer.get_json()
    assert (answer.status_code, told) == (200, {"orderId": told["orderId"], "status": "PENDING"})
    assert answer.headers["Location"] == f"/v2/orders/{told['orderId']}"
    order = shop.get(answer.headers["Location"], "/v2/orders/{orderId}")
    assert (order.get_json()["status"], order.get_json()["suggestedBooks"]) == ("PENDING", [])


@pytest.mark.parametrize("prefer", ["respond-async", "wait=5, respond-async", "Respond-Async"])
def test_who_prefers_it_gets_202(shop: Shop, prefer: str) -> None:
    answer = shop.post("/v2/checkout", headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"


def test_a_rejection_by_verification_is_400_with_its_causes(shop: Shop) -> None:
    shop.verifier.verdict = FRAUD
    answer = shop.post("/v2/checkout")
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert error["code"] == "order_rejected"
    assert "fraud" in error["message"]
    assert [reason["code"] for reason in error["reasons"]] == ["fraud_domain"]
    order = shop.get(f"/v2/orders/{answer.get_json()['orderId']}", "/v2/orders/{orderId}")
    assert order.get_json()["status"] == "Order Rejected"


def test_a_repetition_gets_the_same_answer_also_after_the_order_s_end(shop: Shop) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = shop.post("/v2/checkout", headers=headers)
    shop.queue.end(first.get_json()["orderId"], OrderState.APPROVED, confirmation_code="OK-1")
    assert shop.post("/v2/checkout", headers=headers).get_json() == first.get_json()
    assert shop.post("/checkout", headers=headers).get_json()["status"] == "Order Approved"
    reused = shop.post("/v2/checkout", headers=headers, giftMessage="Another")
    assert (reused.status_code, reused.get_json()["error"]["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "a" * 256, "a b"])
def test_a_malformed_key_is_400(shop: Shop, key: str) -> None:
    answer = shop.post(headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "idempotency_key_invalid")


def test_an_unconfirmed_order_is_503_with_its_id_and_says_when_to_retry(shop: Shop) -> None:
    shop.queue.before = fail_first(10**9, "enqueue", GONE)
    answer = shop.post()
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "order_unconfirmed")
    assert answer.headers["Location"] == f"/v2/orders/{answer.get_json()['orderId']}"
    assert int(answer.headers["Retry-After"]) > 0


def test_a_full_queue_is_503(shop: Shop) -> None:
    shop.queue.before = fail_first(1, "enqueue", ResourceExhausted("full"))
    answer = shop.post()
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_defect_is_500_in_the_error_format_and_tells_no_detail(shop: Shop) -> None:
    shop.verifier.failure = Internal("127.0.0.1:50052 said something odd")
    answer = shop.post()
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (500, "internal")
    assert "127.0.0.1" not in answer.get_data(as_text=True)


BAD_BODIES: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no body": (400, "body_invalid", {"data": b"", "content_type": "application/json"}),
    "no object": (400, "body_invalid", {"data": b"[]", "content_type": "application/json"}),
    "no order": (400, "request_invalid", {"json": {"items": 1}}),
    "a form": (415, "unsupported_media_type", {"data": {"items": "1"}}),
    "XML": (415, "unsupported_media_type", {"data": b"<a/>", "content_type": "application/xml"}),
    "UTF-16": (415, "unsupported_media_type", {"data": b"{}", "content_type": "text/plain; charset=utf-16"}),
    "gzip": (
        415,
        "unsupported_media_type",
        {"data": b"\x1f\x8b", "content_type": "application/json", "headers": {"Content-Encoding": "gzip"}},
    ),
}


@pytest.mark.parametrize("path", ["/checkout", "/v2/checkout"])
@pytest.mark.parametrize(("status", "code", "request_"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_is_refused_in_the_error_format(
    shop: Shop, path: str, status: int, code: str, request_: dict[str, Any]
) -> None:
    answer = shop.checked("post", path, shop.client.post(path, **request_))
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
    assert shop.verifier.orders == []


def test_a_wrong_field_is_named(shop: Shop) -> None:
    error = shop.post(items=[{"name": "Book A", "quantity": "1"}]).get_json()["error"]
    assert error["reasons"][0]["field"] == "/items/0/quantity"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "//checkout", 404, "not_found"),
        ("GET", "/checkout", 405, "method_not_allowed"),
        ("DELETE", "/books", 405, "method_not_allowed"),
        ("GET", "/v2/orders/", 404, "not_found"),
        ("GET", "/v2/orders/nothing", 404, "order_not_found"),
        ("GET", "/v2/orders/%00", 404, "order_not_found"),
        ("GET", "/v2/orders/" + "0" * 32, 404, "order_not_found"),
        ("GET", "/api/database/stock/Nobody%20wrote%20this", 404, "book_not_found"),
        ("GET", "/api/database/stock/%0d%0aa", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_told_in_the_error_format(
    shop: Shop, method: str, path: str, status: int, code: str
) -> None:
    answer = shop.client.open(path, method=method)
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert answer.get_json()["error"]["code"] == code
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(("prefer", "ended"), [("wait=5", True), ("wait=0", False), ("wait=x", False), ("", False)])
def test_who_asks_for_it_waits_for_the_end(shop: Shop, prefer: str, ended: bool) -> None:
    location = shop.post("/v2/checkout").headers["Location"]
    status = shop.get(location, "/v2/orders/{orderId}", Prefer=prefer).get_json()["status"]
    assert status == ("Order Approved" if ended else "PENDING")


def test_the_shelf_is_told(shop: Shop) -> None:
    (book,) = shop.get("/books").get_json()["books"]
    assert (book["title"], book["priceCents"], book["stock"]) == ("Book A", 1000, 9)


@pytest.mark.parametrize(("path", "title"), [("Book%20A", "Book A"), ("A%2FB%3F", "A/B?")])
def test_the_stock_of_a_book_is_told(shop: Shop, path: str, title: str) -> None:
    told = shop.get(f"/api/database/stock/{path}", "/api/database/stock/{book}").get_json()
    assert told["book"] == title
    assert told["stock"] == shop.database.stocks[title].stock


def test_a_database_that_is_away_is_503(shop: Shop) -> None:
    shop.database.failure = GONE
    answer = shop.get("/api/database/stock/Book%20A", "/api/database/stock/{book}")
    assert answer.status_code == 503
    assert shop.post(items=[{"name": "Book Z", "quantity": 1}]).status_code == 503


def test_health_is_this_process_s_alone(shop: Shop) -> None:
    shop.database.failure = GONE
    assert shop.get("/healthz").get_json() == {"status": "ok"}


def test_readiness_is_everybody_s(shop: Shop) -> None:
    assert shop.get("/readyz").get_json()["ready"]
    shop.probed = Probed({"order_queue": [LEADER]}, {"payment": "does not answer (unavailable)"})
    answer = shop.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["components"]["payment"] == {"ready": False, "detail": "does not answer (unavailable)"}
    assert "payment" in answer.get_json()["error"]["message"]


def test_a_page_of_ours_may_call_and_another_may_not(shop: Shop) -> None:
    def preflight(origin: str) -> Any:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, idempotency-key, prefer",
        }
        return shop.client.options("/v2/checkout", headers=headers).headers

    allowed = preflight(PAGE)
    assert allowed["Access-Control-Allow-Origin"] == PAGE
    assert "Idempotency-Key".lower() in allowed["Access-Control-Allow-Headers"].lower()
    assert preflight("https://elsewhere.example").get("Access-Control-Allow-Origin") != "https://elsewhere.example"


def test_an_error_can_be_read_by_the_page(shop: Shop) -> None:
    answers: list[Callable[[], Any]] = [
        lambda: shop.client.get("/nowhere", headers={"Origin": PAGE}),
        lambda: shop.client.post("/checkout", data=b"", headers={"Origin": PAGE}, content_type="text/plain"),
    ]
    for answer in answers:
        assert answer().headers["Access-Control-Allow-Origin"] == PAGE
