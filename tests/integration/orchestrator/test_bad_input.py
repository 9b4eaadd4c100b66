"""Whatever arrives at the real server, the answer is a JSON error that fits, at once, and the server goes on."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.edge import BODY_BYTES_MAX
from tests.integration.orchestrator.cluster import Cluster
from tests.integration.orchestrator.conftest import Orchestrator, running_orchestrator
from tests.unit.orchestrator.fakes import body
from tests.unit.orchestrator.test_json_body import NOT_A_BODY

ANSWER_S_MAX = 1.0


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def server(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestrator]:
    with running_orchestrator(shared_cluster, tmp_path_factory.mktemp("orchestrator")) as running:
        yield running
        assert running.process.poll() is None
        assert "Traceback" not in running.log.read_text()


def post(content: bytes | object, *headers: str, path: str = "/checkout") -> bytes:
    """A request as it is on the wire."""
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    if not any(header.startswith(("Content-Length", "Transfer-Encoding")) for header in headers):
        headers = (*headers, f"Content-Length: {len(content)}")
    return _head("POST", path, *headers) + content


def _head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: shop", "Connection: close", *headers, "", ""]).encode()


def ordering(quantity: Any) -> bytes:
    return post(body(items=[{"name": "Book A", "quantity": quantity}]))


CHUNKED = "Transfer-Encoding: chunked"
OTHERS: dict[str, tuple[bytes, int, str]] = {
    "a body of wrong types": (post({"items": "Book A", "user": 1}), 400, "request_invalid"),
    "true copies": (ordering(True), 400, "request_invalid"),
    "1.5 copies": (ordering(1.5), 400, "request_invalid"),
    "copies in a string": (ordering("1"), 400, "request_invalid"),
    "copies in Arabic digits": (ordering("\u0661"), 400, "request_invalid"),
    "no copies": (ordering(0), 400, "request_invalid"),
    "-1 copies": (ordering(-1), 400, "request_invalid"),
    "2^63 copies": (ordering(2**63), 400, "request_invalid"),
    "100,000 objects": (post(NOT_A_BODY["100,000 objects"]), 413, "body_too_large"),
    "10^5 items": (post({"items": [{}] * 10**5}), 413, "body_too_large"),
    "as many items as a body holds": (post(b'{"items":[' + b"{}," * 80_000 + b"{}]}"), 400, "request_invalid"),
    "an unescaped line feed in a title": (post(b'{"items":[{"name":"Book\nA","quantity":1}]}'), 400, "body_invalid"),
    "CR and LF in a title": (post({"items": [{"name": "Book\r\nA", "quantity": 1}]}), 400, "request_invalid"),
    "an escape sequence in a name": (post(body(user={"name": "\x1b[2J", "contact": "a"})), 400, "request_invalid"),
    "1 MB": (post(b" " * 1_000_000), 413, "body_too_large"),
    "1 MB that is only announced": (post(b"{", "Content-Length: 1000000"), 413, "body_too_large"),
    "1 MB in chunks": (
        post(b"10000\r\n" + b" " * 65536 + b"\r\n", CHUNKED) + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 5,
        413,
        "body_too_large",
    ),
    "a chunk of no size": (post(b"zz\r\n{}\r\n0\r\n\r\n", CHUNKED), 400, "body_invalid"),
    "no body": (_head("POST", "/checkout"), 400, "body_invalid"),
    "a gzip bomb": (post(b"\x1f\x8b" + b"\0" * 5_000, "Content-Encoding: gzip"), 415, "unsupported_media_type"),
    "a form": (
        post(b"items=1", "Content-Type: application/x-www-form-urlencoded"),
        415,
        "unsupported_media_type",
    ),
    "another charset": (post(b"{}", "Content-Type: text/plain; charset=utf-16"), 415, "unsupported_media_type"),
    "no such charset": (post(b"{}", 'Content-Type: text/plain; charset="a b"'), 415, "unsupported_media_type"),
    "a key that is too long": (post(body(), f"Idempotency-Key: {'a' * 256}"), 400, "idempotency_key_invalid"),
    "an empty key": (post(body(), "Idempotency-Key:"), 400, "idempotency_key_invalid"),
    "a key with an umlaut": (
        post(body()).replace(b"Host:", b"Idempotency-Key: \xfc\r\nHost:"),
        400,
        "idempotency_key_invalid",
    ),
    "another method": (_head("GET", "/checkout"), 405, "method_not_allowed"),
    "a method that nobody knows": (_head("FROB", "/checkout"), 405, "method_not_allowed"),
    "a path that is not there": (_head("GET", "/nowhere"), 404, "not_found"),
    "no path": (_head("OPTIONS", "*"), 404, "not_found"),
    "a path outside": (_head("GET", "/../../etc/passwd"), 404, "not_found"),
    "a path with NUL": (_head("GET", "/v2/orders/%00"), 404, "order_not_found"),
    "a path that is not UTF-8": (_head("GET", "/api/database/stock/%ff%fe"), 404, "book_not_found"),
    "a path with SQL": (_head("GET", "/api/database/stock/%27%3B%20DROP%20TABLE%20books"), 404, "book_not_found"),
    "a title of 5,000 letters": (_head("GET", f"/api/database/stock/{'a' * 5_000}"), 404, "book_not_found"),
}
CASES = {name: (post(content), 400, "body_invalid") for name, content in NOT_A_BODY.items()} | OTHERS


def exchange(server: Orchestrator, request: bytes) -> tuple[int, str, bytes]:
    """Status, headers and body of the answer, after which the server closes the connection."""
    with server.connect() as connection:
        # It may answer, and close, before it was told everything.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        reader = connection.makefile("rb")
        head = b""
        while line := reader.readline().strip():
            head += line + b"\n"
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        return int(head.split()[1]), head.decode(), reader.read(int(length[1]))


@pytest.mark.parametrize(("request_", "status", "code"), CASES.values(), ids=CASES.keys())
def test_bad_input_gets_a_json_error_at_once(server: Orchestrator, request_: bytes, status: int, code: str) -> None:
    began = time.monotonic()
    answered, head, told = exchange(server, request_)
    assert time.monotonic() - began < ANSWER_S_MAX
    assert "content-type: application/json" in head
    error = json.loads(told)["error"]
    assert (answered, error["code"]) == (status, code)
    assert error["message"]


GOOD = {
    "HTML": body(user={"name": "<script>alert(1)</script>", "contact": "ada@example.com"}),
    "SQL": body(userComment="'; DROP TABLE orders; --"),
    "a price of the client's own": body(items=[{"name": "Book A", "quantity": 1, "price": 0.01}]),
    "a book that is named twice": body(items=[{"name": "Book A", "quantity": 1}] * 2),
    "a text of two lines": body(giftMessage="Happy\r\nbirthday"),
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD.keys())
def test_odd_input_is_an_order_like_any_other(
    server: Orchestrator, shared_cluster: Cluster, content: dict[str, Any]
) -> None:
    status, _, told = exchange(server, post(content))
    answer = json.loads(told)
    assert (status, answer["status"]) == (200, "Order Approved")
    order = shared_cluster.records[answer["orderId"]].order
    prices = {item["name"]: item["quantity"] for item in content["items"]}
    assert {item.title for item in order.items} == prices.keys()
    assert sum(item.quantity for item in order.items) == sum(item["quantity"] for item in content["items"])
    assert all(item.unit_price_cents > 1 for item in order.items)
    assert b"<script>" not in told


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (_head("POST", "/checkout", "Content-Length: -1"), 400),
        (_head("POST", "/checkout", "Content-Length: 2", "Content-Length: 3") + b"{}", 400),
        (_head("GET", "/" + "a" * 70_000), 431),
        (_head("GET", "/books", "X: " + "a" * 20_000), 431),
        (_head("GET", "/books", *["X: a"] * 200), 431),
    ],
    ids=["no HTTP", "a negative length", "two lengths", "a path of 70 kB", "20 kB of header", "200 headers"],
)
def test_what_is_no_http_is_refused_by_the_parser_without_a_body(
    server: Orchestrator, request_: bytes, status: int
) -> None:
    answered, _, told = exchange(server, request_)
    assert (answered, told) == (status, b"")


def test_a_body_of_the_largest_size_is_read(server: Orchestrator) -> None:
    content = json.dumps(body()).encode()
    status, _, _ = exchange(server, post(content + b" " * (BODY_BYTES_MAX - len(content))))
    assert status == 200
