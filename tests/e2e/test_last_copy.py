"""Fifty buyers want the last copy of a book, again and again: each time exactly one gets it.

LAST_COPY_ROUNDS says how often; `make last-copy` does it 100 times.
"""

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import captures, order_body, set_stock, stock
from tests.e2e.shop_http import shop_http
from utils.catalogue import load_catalogue

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

BUYERS = 50
ROUNDS = int(os.environ.get("LAST_COPY_ROUNDS", "10"))


def test_each_last_copy_is_sold_to_exactly_one_of_fifty_buyers(system: RunningSystem) -> None:
    titles = [book.book.title for book in load_catalogue()][:ROUNDS]
    assert len(titles) == ROUNDS, "there are not so many books"
    set_stock(system, dict.fromkeys(titles, 1))
    captured_before = captures(system).keys()
    together = threading.Barrier(BUYERS)

    def buys(title: str) -> dict[str, Any]:
        together.wait(60)
        answer: dict[str, Any] = http.post("/checkout", json=order_body((title, 1))).json()
        return answer

    sold = {}
    with shop_http(system) as http, ThreadPoolExecutor(BUYERS) as buyers:
        for title in titles:
            answers = list(buyers.map(buys, [title] * BUYERS))
            ends = Counter(answer["status"] for answer in answers)
            assert ends == {"Order Approved": 1, "Order Rejected": BUYERS - 1}, title
            told = {reason["code"] for answer in answers for reason in answer["reasons"]}
            assert told == {"out_of_stock"}, title
            sold[title] = next(answer["orderId"] for answer in answers if answer["status"] == "Order Approved")
    left = stock(system)
    assert {title: left[title] for title in titles} == dict.fromkeys(titles, 0)
    assert captures(system).keys() - captured_before == set(sold.values())
