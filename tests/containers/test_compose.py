"""`docker compose up` ends with the same order approved."""

import json
import subprocess

import httpx
import pytest

from bookstore.shop_client import order_body
from tests.containers.conftest import ORCHESTRATOR_URL, PAGE_URL, Compose, is_ready
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


def test_an_order_is_approved(compose: Compose) -> None:
    assert checkout("Book A")["status"] == "Order Approved"


def test_the_page_is_served(compose: Compose) -> None:
    page = httpx.get(PAGE_URL, timeout=10, trust_env=False)
    assert page.status_code == 200
    assert "submit-button" in page.text


def test_only_the_page_and_the_orchestrator_are_published_beyond_loopback(compose: Compose) -> None:
    identifiers = compose("ps", "--quiet").split()
    described = json.loads(subprocess.run(["docker", "inspect", *identifiers], capture_output=True, check=True).stdout)
    public = {
        binding["HostPort"]
        for container in described
        for bindings in (container["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or []
        if binding["HostIp"] != "127.0.0.1"
    }
    assert public == {"8080", "8081"}


def test_nobody_runs_as_root(compose: Compose) -> None:
    for service in compose("ps", "--services").split():
        if service != "secrets":
            assert compose("exec", "-T", service, "id", "-u").strip() != "0", service


def test_both_encoders_give_the_same_vectors(compose: Compose) -> None:
    difference = compose("exec", "-T", "suggestions", "python", "-c", LARGEST_DIFFERENCE, timeout_s=300)
    assert float(difference) < 2e-6


def test_a_killed_node_of_each_cluster_is_survived(compose: Compose) -> None:
    for node in ("order_queue_1", "order_executor_1", "db-node1"):
        compose("kill", node)
        assert checkout("Book B")["status"] == "Order Approved"
        compose("start", node)


def test_restart_of_every_container_keeps_the_stock(compose: Compose) -> None:
    def stock() -> int:
        response = httpx.get(f"{ORCHESTRATOR_URL}/api/database/stock/Book%20A", timeout=10, trust_env=False)
        copies: int = response.json()["stock"]
        return copies

    before = stock()
    compose("restart", "--timeout", "10", timeout_s=300)
    eventually(is_ready, "the restarted system is ready", 240)
    assert stock() == before
