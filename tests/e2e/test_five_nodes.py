"""Clusters of five nodes: any two of each may be dead."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import CLUSTERS, captures, leader, order_body
from tests.e2e.shop_http import shop_http
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture
def five(tmp_path: Path) -> Iterator[RunningSystem]:
    with RunningSystem(tmp_path, {"CLUSTER_NODES": "5", "PAYMENT_CARD_SUCCESS_RATE": "1"}) as running:
        yield running


def test_an_order_is_approved_while_two_nodes_of_each_cluster_are_dead(five: RunningSystem) -> None:
    # The supervisor would start them again: while it stands still, dead is dead.
    os.kill(five.state.pid, signal.SIGSTOP)
    try:
        killed = set()
        for cluster in CLUSTERS:
            first = leader(five, cluster)
            second = next(node for node in five.state.nodes(cluster) if node != first)
            for node in (first, second):
                killed.add(node)
                os.kill(five.pid(node), signal.SIGKILL)
        assert len(killed) == 6
        with shop_http(five) as http:
            order_id = ""

            def approved() -> bool:
                nonlocal order_id
                # While new leaders are elected an order may be refused with 503, or be pending.
                answer = http.post("/checkout", json=order_body(("1984", 1))).json()
                order_id = answer.get("orderId", "")
                return bool(answer.get("status") == "Order Approved")

            eventually(approved, "an order is approved", 60)
        assert order_id in captures(five)
        for cluster in CLUSTERS:
            assert leader(five, cluster) not in killed
    finally:
        os.kill(five.state.pid, signal.SIGCONT)
