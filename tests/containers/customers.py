"""Customers of the bookstore in containers, through the port that is for the world."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from bookstore.shop_client import order_body
from tests.containers.compose import ORCHESTRATOR_URL, ROOT

CLIENTS = 8
THINK_S = 0.2
PLENTY = 1_000_000
DB_NODES = "127.0.0.1:50066,127.0.0.1:50067,127.0.0.1:50068"
ANSWER_TIMEOUT_S = 60
ORDERS_TIMEOUT_S = 240


def checkout(title: str) -> dict[str, str]:
    answer: dict[str, str] = _answered(str(uuid.uuid4()), title)
    return answer


def stock(title: str) -> int:
    response = httpx.get(f"{ORCHESTRATOR_URL}/api/database/stock/{title}", timeout=30, trust_env=False)
    copies: int = response.json()["stock"]
    return copies


def bookstore(*arguments: str) -> str:
    """`python -m bookstore`, from the host."""
    command = [sys.executable, "-m", "bookstore", *arguments]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


class Customers:
    """Order one copy after another, each until it is approved."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._closing = threading.Event()
        self.order_ids: list[str] = []
        self._failed = False
        self._changed = threading.Condition()

    def wait_for(self, orders: int) -> None:
        """Until so many more have ended, or one has failed. Raises TimeoutError."""
        with self._changed:
            enough = len(self.order_ids) + orders
            if not self._changed.wait_for(lambda: self._failed or len(self.order_ids) >= enough, ORDERS_TIMEOUT_S):
                raise TimeoutError(f"{len(self.order_ids)} orders have ended, and not {enough}")

    def close(self) -> None:
        self._closing.set()

    def order(self) -> None:
        """Until `close`. Raises AssertionError for an answer that is no approval."""
        try:
            while not self._closing.wait(THINK_S):
                self._order_once()
        except BaseException:
            with self._changed:
                self._failed = True
                self._changed.notify_all()
            raise

    def _order_once(self) -> None:
        key = str(uuid.uuid4())
        answer = _answered(key, self._title)
        assert answer["status"] == "Order Approved"
        assert _answered(key, self._title)["orderId"] == answer["orderId"]
        with self._changed:
            self.order_ids.append(answer["orderId"])
            self._changed.notify_all()


@contextmanager
def customers(title: str) -> Iterator[Customers]:
    """So many order meanwhile, from a shelf that does not sell out; what failed for one of them fails here."""
    bookstore("db", "--nodes", DB_NODES, "set", f"stock:{title}", str(PLENTY))
    ordering = Customers(title)
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(ordering.order) for _ in range(CLIENTS)]
        try:
            ordering.wait_for(CLIENTS)
            yield ordering
        finally:
            ordering.close()
        for customer in running:
            customer.result()


def _answered(key: str, title: str) -> Any:
    """As a customer who repeats the same request while nobody listens, or when he is told to come back: nothing was
    ordered then. Raises AssertionError for any other answer, TimeoutError when he has waited for too long.
    """
    waiting = threading.Event()
    give_up_at = time.monotonic() + ORDERS_TIMEOUT_S
    while time.monotonic() < give_up_at:
        try:
            response = httpx.post(
                f"{ORCHESTRATOR_URL}/checkout",
                json=order_body((title, 1)),
                headers={"Idempotency-Key": key},
                timeout=ANSWER_TIMEOUT_S,
                trust_env=False,
            )
        except httpx.TransportError:
            waiting.wait(0.1)
            continue
        if response.status_code == 200:
            return response.json()
        assert response.status_code == 503, response.text
        waiting.wait(float(response.headers["Retry-After"]))
    raise TimeoutError(f"no order of {title} has ended in {ORDERS_TIMEOUT_S} s")
