"""The whole system with executors that elect their leader in other ways than by default: the same promises."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import captures, executor_leader, stock
from bookstore.system import BULLY_EXECUTORS, PAYMENT, nodes_of
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
        before, (_, epoch) = stock(system), executor_leader(system)
        with ThreadPoolExecutor(8) as pool:
            log = list(pool.map(lambda number: accept(http, number), range(ORDERS)))
        eventually(lambda: not unfinished(http, [order_id for order_id, _ in log]), "every accepted order ends")
        assert_books_agree(http, system, log, before)
        assert executor_leader(system)[1] >= epoch + ORDERS - 1


def test_bully_the_highest_leads_is_killed_and_leads_again(tmp_path: Path) -> None:
    next_highest, highest = nodes_of("order_executor", BULLY_EXECUTORS)[-2:]
    with running(tmp_path, EXECUTOR_ELECTION="bully") as (system, http):
        before, (first, epoch) = stock(system), executor_leader(system)
        assert first == highest
        # While payment stands still no order can end, so the kill finds them all on their way.
        os.kill(payment := system.pid(PAYMENT), signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(8) as pool:
                log = list(pool.map(lambda number: accept(http, number), range(ORDERS)))
            # Stopped, it is not started again by the supervisor before the others have missed it.
            os.kill(pid := system.pid(highest), signal.SIGSTOP)
            eventually(lambda: executor_leader(system) > (next_highest, epoch), "the next highest leads")
        finally:
            os.kill(payment, signal.SIGCONT)
        eventually(lambda: not unfinished(http, [order_id for order_id, _ in log]), "every accepted order ends")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: executor_leader(system)[0] == highest, "it takes over again when it is back")
        log += [accept(http, number) for number in range(ORDERS, ORDERS + 4)]
        order_ids = [order_id for order_id, _ in log]
        eventually(lambda: not unfinished(http, order_ids), "every accepted order ends")
        assert_books_agree(http, system, log, before)
        assert captures(system).keys() == set(order_ids)
        assert executor_leader(system)[1] >= epoch + 2
