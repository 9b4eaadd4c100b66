"""`docker compose up` ends with the same order approved, and containers that go away lose nothing."""

import httpx
import pytest

from bookstore.shop_client import order_body
from tests.containers.compose import ORCHESTRATOR_URL, Compose, is_ready
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

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


def test_restart_of_every_container_keeps_the_stock(compose: Compose) -> None:
    before = stock("Book A")
    compose("restart", "--timeout", "10", timeout_s=300)
    eventually(is_ready, "the restarted system is ready", 240)
    assert stock("Book A") == before
