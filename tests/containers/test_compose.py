"""`docker compose up` ends with the same order approved, and containers that go away lose nothing."""

import json
import subprocess
from collections import Counter

import pytest

from tests.containers.compose import Compose, docker, is_ready
from tests.containers.customers import CLIENTS, PLENTY, checkout, customers, stock
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

LARGEST_DIFFERENCE = """
from suggestions.encoder import open_encoder

texts = ["Dune by Frank Herbert. A desert planet.", "naïve café 東京", "", "word " * 300]
ours, theirs = (open_encoder(kind).encode(texts) for kind in ("numpy", "sentence-transformers"))
print(max(abs(a - b) for left, right in zip(ours, theirs, strict=True) for a, b in zip(left, right, strict=True)))
"""


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


STOPPED = (
    "transaction_verification",
    "fraud_detection",
    "suggestions",
    "payment-service",
    "order_queue_2",
    "order_executor_2",
    "db-node2",
    "postgres",
)


@pytest.mark.parametrize("service", STOPPED)
def test_a_service_that_is_stopped_under_load_ends_in_time_and_loses_nothing(compose: Compose, service: str) -> None:
    container = compose.container(service)
    with customers("The Great Gatsby") as ordering:
        compose("stop", service, timeout_s=300)
        (stopped,) = json.loads(docker("inspect", container))
        compose("start", service)
        ordering.wait_for(2 * CLIENTS)
    # 137 would be SIGKILL after 10 s.
    assert stopped["State"]["ExitCode"] == 0
    assert stock("The Great Gatsby") == PLENTY - len(set(ordering.order_ids))


def test_a_stopped_orchestrator_has_answered_all_that_it_received(compose: Compose) -> None:
    orchestrator = compose.container("orchestrator")
    with customers("Harry Potter") as ordering:
        # Ten seconds for the container; the rest is for an engine that has much to do.
        compose("stop", "orchestrator", timeout_s=300)
        (stopped,) = json.loads(docker("inspect", orchestrator))
        logged = [json.loads(line) for line in _lines(orchestrator, since=stopped["State"]["StartedAt"])]
        compose("start", "orchestrator")
        ordering.wait_for(2 * CLIENTS)
    assert stopped["State"]["ExitCode"] == 0
    received, answered = (
        Counter(line["order_id"] for line in logged if line["event"] == event and line["order_id"])
        for event in ("request received", "response sent")
    )
    assert received == answered
    assert not [line for line in logged if line.get("order_id") and line.get("status", 0) >= 500]
    assert stock("Harry Potter") == PLENTY - len(set(ordering.order_ids))


def _lines(container: str, since: str) -> list[str]:
    """What its last process has logged: one before it may have been killed."""
    command = ["docker", "logs", "--since", since, container]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_restart_of_every_container_keeps_the_stock(compose: Compose) -> None:
    before = stock("Book A")
    compose("restart", "--timeout", "10", timeout_s=300)
    eventually(is_ready, "the restarted system is ready", 240)
    assert stock("Book A") == before
