"""`docker compose up` ends with the same order approved, and containers that go away lose nothing."""

import json
import subprocess
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bookstore.shop_client import order_body
from tests.containers.compose import ORCHESTRATOR_URL, Compose, docker, is_ready
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

CLIENTS = 8
ORDERS_EACH = 8
LARGEST_DIFFERENCE = """
from suggestions.encoder import open_encoder

texts = ["Dune by Frank Herbert. A desert planet.", "naïve café 東京", "", "word " * 300]
ours, theirs = (open_encoder(kind).encode(texts) for kind in ("numpy", "sentence-transformers"))
print(max(abs(a - b) for left, right in zip(ours, theirs, strict=True) for a, b in zip(left, right, strict=True)))
"""


def checkout(title: str) -> dict[str, str]:
    response = httpx.post(f"{ORCHESTRATOR_URL}/checkout", json=order_body((title, 1)), timeout=60, trust_env=False)
    assert response.status_code == 200, response.text
    answer: dict[str, str] = response.json()
    return answer


def stock(title: str) -> int:
    response = httpx.get(f"{ORCHESTRATOR_URL}/api/database/stock/{title}", timeout=10, trust_env=False)
    copies: int = response.json()["stock"]
    return copies


def test_an_order_is_approved(compose: Compose) -> None:
    assert checkout("Book A")["status"] == "Order Approved"


def test_both_encoders_give_the_same_vectors(compose: Compose) -> None:
    difference = compose("exec", "-T", "suggestions", "python", "-c", LARGEST_DIFFERENCE, timeout_s=300)
    assert float(difference) < 2e-6


def test_a_killed_node_of_each_cluster_is_survived(compose: Compose) -> None:
    for node in ("order_queue_1", "order_executor_1", "db-node1"):
        compose("kill", node)
        assert checkout("Book B")["status"] == "Order Approved"
        compose("start", node)


class Customers:
    """Order one after the other until each has so many orders; whoever gets no answer repeats the same request."""

    def __init__(self) -> None:
        self.order_ids: dict[str, set[str]] = {}
        self.answered = threading.Semaphore(0)

    def order(self) -> None:
        for _ in range(ORDERS_EACH):
            key = str(uuid.uuid4())
            answer = self._answer(key)
            assert answer["status"] == "Order Approved"
            assert self._answer(key)["orderId"] == answer["orderId"]
            self.answered.release()

    def _answer(self, key: str) -> Any:
        while True:
            try:
                response = httpx.post(
                    f"{ORCHESTRATOR_URL}/checkout",
                    json=order_body(("Harry Potter", 1)),
                    headers={"Idempotency-Key": key},
                    timeout=60,
                    trust_env=False,
                )
            except httpx.TransportError:
                # Nobody listens for as long as the container is away.
                time.sleep(0.1)
                continue
            assert response.status_code == 200, response.text
            return response.json()


def test_a_stopped_orchestrator_has_answered_all_that_it_received(compose: Compose) -> None:
    orchestrator, before = compose.container("orchestrator"), stock("Harry Potter")
    customers = Customers()
    with ThreadPoolExecutor(CLIENTS) as threads:
        ordering = [threads.submit(customers.order) for _ in range(CLIENTS)]
        for _ in range(CLIENTS):
            customers.answered.acquire()
        # Ten seconds for the container; the rest is for an engine that has much to do.
        compose("stop", "orchestrator", timeout_s=300)
        (stopped,) = json.loads(docker("inspect", orchestrator))
        logged = [json.loads(line) for line in _lines(orchestrator)]
        compose("start", "orchestrator")
        for order in ordering:
            order.result()
    assert stopped["State"]["ExitCode"] == 0
    received, answered = (
        Counter(line["order_id"] for line in logged if line["event"] == event and line["order_id"])
        for event in ("request received", "response sent")
    )
    assert received == answered
    assert not [line for line in logged if line.get("order_id") and line.get("status", 0) >= 500]
    assert stock("Harry Potter") == before - CLIENTS * ORDERS_EACH


def _lines(container: str) -> list[str]:
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True).stderr.splitlines()


def test_restart_of_every_container_keeps_the_stock(compose: Compose) -> None:
    before = stock("Book A")
    compose("restart", "--timeout", "10", timeout_s=300)
    eventually(is_ready, "the restarted system is ready", 240)
    assert stock("Book A") == before
