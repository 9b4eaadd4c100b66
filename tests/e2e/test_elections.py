"""The whole system with executors that elect their leader in other ways than by default: the same promises."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import executor_epoch, stock
from tests.e2e.shop_http import shop_http
from tests.e2e.test_faults import ORDERS, accept, assert_books_agree, unfinished
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[tuple[RunningSystem, httpx.Client]]:
    luck = {"PAYMENT_CARD_SUCCESS_RATE": "1"}
    with (
        RunningSystem(directory, {**luck, **settings}) as system,
        shop_http(system) as http,
    ):
        yield system, http


def test_every_order_has_a_leader_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path, LEADERSHIP_ROTATION="every:1") as (system, http):
        before, epoch = stock(system), executor_epoch(system)
        with ThreadPoolExecutor(8) as pool:
            log = list(pool.map(lambda number: accept(http, number), range(ORDERS)))
        eventually(lambda: not unfinished(http, [order_id for order_id, _ in log]), "every accepted order ends")
        assert_books_agree(http, system, log, before)
        assert executor_epoch(system) >= epoch + ORDERS - 1
