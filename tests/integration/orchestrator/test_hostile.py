"""A client that means harm, at the real server: random requests from a grammar, and known ways to pass for another.

Whatever it sends, it gets an answer below 500 that is an error as all are, or its connection is closed; it never makes
an order that it did not write down in one well-formed request; and the next customer is served.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.integration.orchestrator.cluster import Cluster
from tests.integration.orchestrator.conftest import Orchestrator, running_orchestrator
from tests.unit.orchestrator.fakes import body

# More for an attack of hours: HOSTILE_EXAMPLES=20000 pytest tests/integration/orchestrator/test_hostile.py
EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "100"))
hostile = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
SMUGGLED = "smuggled"
TIMEOUT_S = 30
LAST = b"GET /healthz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestrator]:
    # A body that is promised and does not come is waited for: not for long.
    directory = tmp_path_factory.mktemp("orchestrator")
    with running_orchestrator(cluster, directory, BODY_TIMEOUT_S="0.3") as running:
        yield running
        assert running.process.poll() is None
        failed = [line for line in running.log.read_text().splitlines() if "failed" in line or "Traceback" in line]
        assert failed == []


@pytest.fixture(scope="module")
def http(server: Orchestrator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S, trust_env=False) as client:
        yield client


def answers_to(server: Orchestrator, sent: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer until the server closes: after the last request, whatever it takes for that."""
    with server.connect() as connection:
        connection.settimeout(TIMEOUT_S)
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent + LAST)
        told = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                told += part
    answers = []
    while told:
        head, end, rest = told.partition(b"\r\n\r\n")
        assert end, told
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        answers.append((int(head.split()[1]), rest[:size]))
        told = rest[size:]
    return answers


def assert_harmless(answers: list[tuple[int, bytes]]) -> None:
    for status, content in answers:
        assert status < 500, (status, content)
        if status >= 400 and content:
            error = json.loads(content)["error"]
            assert error["code"]
            assert error["message"]


# JSON


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["Book A", "", "0"])
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def orders(draw: st.DrawFn) -> Any:
    """An order of which some parts are something else."""
    order: Any = body()
    for _ in range(draw(st.integers(1, 3))):
        part, name = order, draw(st.sampled_from(sorted(order)))
        while isinstance(part[name], dict) and part[name] and draw(st.booleans()):
            part = part[name]
            name = draw(st.sampled_from(sorted(part)))
        part[name] = draw(_JSON)
    return order


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """The text of an order, in which some bytes are others, doubled or missing."""
    text = bytearray(json.dumps(draw(orders() | st.just(body()))).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        text[start:end] = draw(st.binary(max_size=8) | st.just(bytes(text[start:end] * 2)))
    return bytes(text)


@hostile
@given(text=texts(), path=st.sampled_from(["/checkout", "/v2/checkout"]))
def test_no_body_brings_the_server_down(http: httpx.Client, text: bytes, path: str) -> None:
    answer = http.post(path, content=text)
    assert_harmless([(answer.status_code, answer.content)])


@hostile
@given(order=orders())
def test_what_is_accepted_is_what_was_ordered(http: httpx.Client, cluster: Cluster, order: Any) -> None:
    text = json.dumps(order).encode("utf-8", "surrogatepass")
    answer = http.post("/v2/checkout", content=text)
    assert_harmless([(answer.status_code, answer.content)])
    if answer.status_code == 200:
        accepted = cluster.records[answer.json()["orderId"]].order
        copies = sum(item.quantity for item in accepted.items)
        assert copies == sum(item["quantity"] for item in order["items"])


# HTTP


_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-_ACTE", min_size=1, max_size=20)
_HEADERS = st.sampled_from(
    [
        "Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked",
        "transfer-encoding: identity", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked",
        "Transfer_Encoding: chunked", "Content-Length: 0", "Content-Length: 5", "Content-Length: +5",
        "Content-Length: 0x5", "Content-Length: 5, 5", "Content-Length: 18446744073709551617", "Content_Length: 5",
        "Content-Length: -1", "Host: evil.example", "Host:", "Expect: 100-continue", "Upgrade: h2c",
        "Connection: Content-Length", "Connection: keep-alive, upgrade", "X:\x00", " folded: yes", ": no name",
        "X-HTTP-Method-Override: DELETE", "X-Forwarded-For: 127.0.0.1", "Content-Type: application/json;charset=x",
        "Idempotency-Key: a\rb",
    ]
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One whose framing can be read in several ways; what one reading leaves over is a request of its own."""
    method = draw(st.sampled_from(["POST", "GET", "OPTIONS", "TRACE", "CONNECT", "PRI"]) | _TOKEN)
    paths = [
        "/checkout",
        "/v2/checkout",
        "/../checkout",
        "//checkout",
        "/%2e%2e/",
        "*",
        "http://evil/checkout",
        "/\xff",
    ]
    path = draw(st.sampled_from(paths))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 "]))
    headers = ["Host: shop", *draw(st.lists(_HEADERS, max_size=4))]
    end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
    head = end.join([f"{method} {path} {version}", *headers, "", ""]).encode("latin-1")
    inner = json.dumps(body(giftMessage=SMUGGLED)).encode()
    smuggled = b"POST /v2/checkout HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner)
    return (
        head + draw(st.sampled_from([b"", b"0\r\n\r\n", b"5\r\n", b"{}   "])) + draw(st.binary(max_size=8)) + smuggled
    )


@hostile
@given(request=requests())
def test_no_framing_brings_the_server_down(server: Orchestrator, http: httpx.Client, request: bytes) -> None:
    assert_harmless(answers_to(server, request))
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: {short}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: {short}",
        "Content-Length: {short}\r\nContent-Length: {long}",
        "Content-Length: {short}\r\nTransfer-Encoding: xchunked",
        "Content-Length: {short}\r\nTransfer-Encoding: chunked, identity",
        "Content-Length: {short}\r\nTransfer-Encoding : chunked",
        "Content-Length: +{short}",
        "Content-Length: {short}, {long}",
    ],
)
def test_a_request_of_two_lengths_is_one_request_at_most(server: Orchestrator, cluster: Cluster, framing: str) -> None:
    """RFC 9112, section 6.3: what another server between us would read as one request must never be two here."""
    inner = json.dumps(body()).encode()
    hidden = b"POST /v2/checkout HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner)
    content = b"0\r\n\r\n" + hidden
    lengths = framing.format(short=5, long=len(content))
    before = len(cluster.records)
    answers = answers_to(server, f"POST /checkout HTTP/1.1\r\nHost: shop\r\n{lengths}\r\n\r\n".encode() + content)
    assert_harmless(answers)
    assert len(cluster.records) == before
    # Refused, and the connection closed; or read by one length alone, and nothing is left but the last request.
    assert [status for status, _ in answers] in ([400], [400, 200], [413], [408])


def test_pipelined_requests_are_answered_in_their_order(server: Orchestrator) -> None:
    def get(path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode()

    paths = ["/healthz", "/nowhere", "/v2/orders/x"] * 20
    told = answers_to(server, b"".join(map(get, paths)))
    assert [status for status, _ in told] == [200, 404, 404] * 20 + [200]


# Whose request it is


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "http://localhost:8080.evil.example", "http://localhost:80800",
        "https://localhost:8080", "http://127x0x0x1:8080", "http://127.0.0.1:8080/", "http://evil.example#http://localhost:8080",
        "http://localhost:8080@evil.example", "file://",
    ],
)  # fmt: skip
def test_a_page_from_elsewhere_reads_nothing(http: httpx.Client, origin: str) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Idempotency-Key"}
    for answer in (
        http.get("/books", headers={"Origin": origin}),
        http.post("/checkout", content=b"{", headers={"Origin": origin}),
        http.options("/checkout", headers={"Origin": origin, **preflight}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_nobody_decides_by_a_header_who_the_server_is(http: httpx.Client) -> None:
    lies = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "evil",
        "Forwarded": "evil",
    }
    for answer in (
        http.post("/v2/checkout", json=body(), headers=lies),
        http.get("/nowhere", headers=lies),
        http.get("/v2/orders/x", headers=lies),
        http.post("/checkout", content=b"{", headers=lies),
    ):
        assert "evil" not in f"{answer.headers} {answer.text}"


@hostile
@given(key=st.text("abcXYZ019-_.:", min_size=1, max_size=8), changed=orders())
def test_a_key_of_somebody_else_tells_nothing_of_his_order(http: httpx.Client, key: str, changed: Any) -> None:
    theirs = body(user={"name": "Ada", "contact": f"{key}@example.com"})
    headers = {"Idempotency-Key": f"shared-{key}"}
    first = http.post("/v2/checkout", json=theirs, headers=headers)
    assert first.status_code == 200
    text = json.dumps(changed).encode("utf-8", "surrogatepass")
    other = http.post("/v2/checkout", content=text, headers=headers)
    assert other.status_code in {400, 422}
    assert first.json()["orderId"] not in f"{other.headers} {other.text}"
    assert http.post("/v2/checkout", json=theirs, headers=headers).json() == first.json()
