"""Machines die while orders are on their way: each accepted order ends, and the books agree with the clients' log."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import CLUSTERS, captures, leader, order_body, stock
from bookstore.system import PAYMENT
from tests.e2e.shop_http import shop_http
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ORDERS = 40
UNFINISHED_MIN = 20
END_TIMEOUT_S = 60
TITLES = ("Harry Potter", "The Great Gatsby", "To Kill a Mockingbird", "Pride and Prejudice")


def accept(http: httpx.Client, number: int) -> tuple[str, str]:
    """Orders one copy, and returns the order's id and title: the client's own log."""
    title = TITLES[number % len(TITLES)]
    response = http.post("/v2/checkout", json=order_body((title, 1)))
    assert response.status_code == 200, response.text
    return response.json()["orderId"], title


def answer(http: httpx.Client, order_id: str) -> dict[str, Any]:
    response = http.get(f"/v2/orders/{order_id}")
    assert response.status_code in (200, 503, 504), response.text
    return response.json() if response.status_code == 200 else {"status": "PENDING"}


def unfinished(http: httpx.Client, order_ids: list[str]) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda order_id: answer(http, order_id), order_ids))
    return [order_id for order_id, told in zip(order_ids, answers, strict=True) if told["status"] == "PENDING"]


def assert_books_agree(
    http: httpx.Client, system: RunningSystem, log: list[tuple[str, str]], before: dict[str, int]
) -> None:
    """Stock and captures are exactly what the clients' log says (promises 2 and 3)."""
    approved = [(order_id, title) for order_id, title in log if answer(http, order_id)["status"] == "Order Approved"]
    assert len(approved) == len(log)  # enough stock, and cards are always authorised
    after = stock(system)
    for title in TITLES:
        assert before[title] - after[title] == sum(title == sold for _, sold in approved), title
    captured = captures(system)
    assert {order_id for order_id, _ in approved} <= captured.keys()


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_leader_killed_with_orders_in_flight(system: RunningSystem, http: httpx.Client, cluster: str) -> None:
    before = stock(system)
    captured_before = captures(system).keys()
    payment = system.pid(PAYMENT)
    # While payment stands still no order can end, so the kill finds them all on their way.
    os.kill(payment, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as pool:
            log = list(pool.map(lambda number: accept(http, number), range(ORDERS)))
        order_ids = [order_id for order_id, _ in log]
        assert len(unfinished(http, order_ids)) >= UNFINISHED_MIN
        os.kill(system.pid(leader(system, cluster)), signal.SIGKILL)
    finally:
        os.kill(payment, signal.SIGCONT)
    eventually(lambda: not unfinished(http, order_ids), "every accepted order ends", END_TIMEOUT_S)
    assert_books_agree(http, system, log, before)
    assert captures(system).keys() - captured_before == set(order_ids)


def test_restart_of_everything_keeps_stock_and_orders(system: RunningSystem) -> None:
    with shop_http(system) as http:
        told = http.post("/checkout", json=order_body(("Clean Code", 3))).json()
        assert told["status"] == "Order Approved"
        accepted = [accept(http, number)[0] for number in range(10)]
    before, captured = stock(system), captures(system)
    system.stop()
    system.start()
    with shop_http(system) as http:
        assert answer(http, told["orderId"])["confirmationCode"] == told["confirmationCode"]
        eventually(lambda: not unfinished(http, accepted), "orders accepted before the restart end", END_TIMEOUT_S)
        assert stock(system)["Clean Code"] == before["Clean Code"]
        assert captured.items() <= captures(system).items()
