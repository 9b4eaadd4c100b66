"""The real server under clients that are too slow, too many or too greedy: others do not notice."""

import asyncio
import contextlib
import json
import select
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.orchestrator.cluster import Cluster, Held, outcome
from tests.integration.orchestrator.conftest import Orchestrator, running_orchestrator
from tests.unit.orchestrator.fakes import body
from utils.pb import fraud_detection_pb2 as fraud, order_queue_pb2 as queue

SLOW_CLIENTS = 300
# How long the page waits for an answer.
PAGE_TIMEOUT_S = 60
PAGE = "http://localhost:8080"
TEXT = json.dumps(body()).encode()
HEAD = (
    b"POST /checkout HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n" % len(TEXT)
)


@pytest.fixture
def small(cluster: Cluster, tmp_path: Path) -> Iterator[Orchestrator]:
    """A server with eight places, four for each address."""
    with running_orchestrator(cluster, tmp_path, HTTP_THREADS="8", HTTP_THREADS_PER_ADDRESS="4") as running:
        yield running


@contextlib.contextmanager
def client(server: Orchestrator, address: str) -> Iterator[httpx.Client]:
    """One that comes from `address`, for many requests at once."""
    transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_connections=None))
    with httpx.Client(base_url=server.url, transport=transport, timeout=30) as http:
        yield http


def orders(
    http: httpx.Client, threads: ThreadPoolExecutor, count: int, path: str = "/v2/checkout"
) -> "list[Future[httpx.Response]]":
    """In progress at once."""
    return [threads.submit(http.post, path, json=body()) for _ in range(count)]


def test_slow_clients_get_408_and_hold_up_nobody(cluster: Cluster, tmp_path: Path) -> None:
    with (
        running_orchestrator(cluster, tmp_path, BODY_TIMEOUT_S="3") as server,
        contextlib.ExitStack() as connections,
    ):
        slow = [connections.enter_context(server.connect()) for _ in range(SLOW_CLIENTS)]
        for connection in slow:
            connection.sendall(HEAD + TEXT[:10])
        for byte in range(10, 13):
            honest = httpx.post(f"{server.url}/checkout", json=body(), timeout=2, trust_env=False)
            assert honest.json()["status"] == "Order Approved"
            for connection in slow:
                connection.sendall(TEXT[byte : byte + 1])
        answered, _, _ = select.select(slow, [], [], 0)
        assert answered == [], "the slow clients were answered before the honest ones"
        assert {refusal(connection) for connection in slow} == {(408, "body_too_slow")}
        assert len(cluster.records) == 3


@pytest.mark.slow
def test_clients_that_never_end_their_headers_only_delay_others(cluster: Cluster, tmp_path: Path) -> None:
    """They hold four times the connections that there are, and come back whenever they are cut off."""
    held = threading.Event()
    ended = threading.Event()

    def hold(server: Orchestrator) -> int:
        cut_off = 0
        while not ended.is_set():
            with contextlib.ExitStack() as connections, contextlib.suppress(OSError):
                silent = [connections.enter_context(server.connect()) for _ in range(32)]
                for connection in silent:
                    connection.sendall(b"POST /checkout HTTP/1.1\r\nHost: shop\r\nX: y")
                held.set()
                while not ended.is_set():
                    readable, _, _ = select.select(silent, [], [], 0.1)
                    if readable:
                        cut_off += 1
                        break
        return cut_off

    with running_orchestrator(cluster, tmp_path, HTTP_CONNECTIONS="32") as server, ThreadPoolExecutor(4) as threads:
        holding = [threads.submit(hold, server) for _ in range(4)]
        assert held.wait(PAGE_TIMEOUT_S)
        try:
            answer = httpx.post(f"{server.url}/checkout", json=body(), timeout=PAGE_TIMEOUT_S, trust_env=False)
            assert answer.json()["status"] == "Order Approved"
        finally:
            ended.set()
        assert sum(each.result() for each in holding) > 0
    assert len(cluster.records) == 1


def refusal(connection: socket.socket) -> tuple[int, str]:
    """Status and code of the error that is all that still comes."""
    head, _, content = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)["error"]["code"]


def test_a_greedy_address_gets_429_and_all_together_503_while_others_are_served(
    small: Orchestrator, cluster: Cluster
) -> None:
    usual = fraud.DetectFraudResponse(outcome=outcome(transaction_verification=3, fraud_detection=2))
    cluster.hooks["DetectFraud"] = held = Held(usual)
    with (
        client(small, "127.0.0.2") as greedy,
        client(small, "127.0.0.3") as other,
        client(small, "127.0.0.4") as third,
        ThreadPoolExecutor(16) as threads,
    ):
        begun = orders(greedy, threads, 4)
        cluster.wait_for("DetectFraud", 4)
        refused = greedy.post("/checkout", json=body(), headers={"Origin": PAGE})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.headers["Access-Control-Allow-Origin"] == PAGE
        assert other.get("/books").status_code == 200
        begun += orders(other, threads, 4)
        cluster.wait_for("DetectFraud", 8)
        refused = third.post("/checkout", json=body())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) > 0
        assert third.get("/healthz").status_code == 200
        held.release()
        assert {answer.result().json()["status"] for answer in begun} == {"PENDING"}
        assert third.post("/checkout", json=body()).json()["status"] == "Order Approved"
    assert len(cluster.records) == 9
    assert small.logs("requests were refused at the edge")


def test_a_flood_of_one_address_is_refused_and_the_places_of_others_stay_free(
    small: Orchestrator, cluster: Cluster
) -> None:
    usual = fraud.DetectFraudResponse(outcome=outcome(transaction_verification=3, fraud_detection=2))
    cluster.hooks["DetectFraud"] = held = Held(usual)
    with client(small, "127.0.0.2") as flood, client(small, "127.0.0.3") as honest, ThreadPoolExecutor(64) as threads:
        flooding = orders(flood, threads, 64)
        cluster.wait_for("DetectFraud", 4)
        ordered = threads.submit(honest.post, "/checkout", json=body())
        cluster.wait_for("DetectFraud", 5)
        held.release()
        assert ordered.result().json()["status"] == "Order Approved"
        answers = [answer.result().status_code for answer in flooding]
    assert set(answers) == {200, 429}
    assert answers.count(200) == len(cluster.records) - 1


def test_sigterm_tells_an_order_that_does_not_end_as_pending(orchestrator: Orchestrator, cluster: Cluster) -> None:
    async def pending(request: queue.GetOrderRequest) -> queue.GetOrderResponse:
        await asyncio.sleep(request.wait_ms / 1_000)
        return queue.GetOrderResponse(record=cluster.records[request.order_id])

    cluster.hooks["GetOrder"] = pending
    with (
        client(orchestrator, "127.0.0.1") as http,
        ThreadPoolExecutor(1) as threads,
        orchestrator.connect() as stalled,
    ):
        stalled.sendall(HEAD + TEXT[:10])
        (waiting,) = orders(http, threads, 1, "/checkout")
        cluster.wait_for("GetOrder")
        orchestrator.process.send_signal(signal.SIGTERM)
        answer = waiting.result()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "order_pending")
        assert list(cluster.records) == [answer.json()["orderId"]]
        assert refusal(stalled) == (408, "body_too_slow")
    assert orchestrator.process.wait(5) == 0
