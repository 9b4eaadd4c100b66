"""The whole system on the other engine: the logs of the database, the queue and the executors are in etcd."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import captures, executor_leader, order_body, runtime, stock
from tests.e2e.shop_http import shop_http
from tests.e2e.test_faults import END_TIMEOUT_S, ORDERS, TITLES, assert_books_agree, unfinished
from tests.e2e.waiting import eventually
from tests.support.etcd import EtcdMembers, needs_etcd

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), needs_etcd]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdMembers]:
    members = EtcdMembers(tmp_path_factory.mktemp("etcd"))
    runtime().run(members.start_all())
    yield members
    runtime().run(members.close())


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, etcd: EtcdMembers) -> Iterator[RunningSystem]:
    directory: Path = tmp_path_factory.mktemp("bookstore")
    settings = {
        "STORE": "etcd",
        "QUEUE": "etcd",
        "EXECUTOR_ELECTION": "etcd",
        "ETCD_ENDPOINTS": ",".join(etcd.endpoints.values()),
        "PAYMENT_CARD_SUCCESS_RATE": "1",
    }
    with RunningSystem(directory, settings) as running:
        yield running
    assert not list(directory.glob("*/raft")), "no log is on a node's own disk"


def test_an_order_is_approved_and_one_for_more_than_there_is_is_rejected(http: httpx.Client) -> None:
    statuses = [http.post("/checkout", json=order_body(("Book F", 1))).json()["status"] for _ in range(2)]
    assert statuses == ["Order Approved", "Order Rejected"]
    left = http.get("/api/database/stock/Book F").json()
    assert (left["stock"], left["version"]) == (0, 2)


def order_until_accepted(http: httpx.Client, number: int) -> tuple[str, str]:
    """As a customer does who is told to come again: the key makes it one order. Returns its id and title."""
    title = TITLES[number % len(TITLES)]
    answers: list[httpx.Response] = []

    def is_accepted() -> bool:
        answers.append(
            http.post("/v2/checkout", json=order_body((title, 1)), headers={"Idempotency-Key": f"on-etcd-{number}"})
        )
        assert answers[-1].status_code in (200, 503, 504), answers[-1].text
        return answers[-1].status_code == 200

    eventually(is_accepted, "the order is accepted", END_TIMEOUT_S)
    return answers[-1].json()["orderId"], title


def test_every_order_ends_though_the_executors_leader_and_etcd_s_are_killed(
    system: RunningSystem, etcd: EtcdMembers
) -> None:
    with shop_http(system) as http, ThreadPoolExecutor(4) as pool:
        before, (leader, epoch) = stock(system), executor_leader(system)
        member = runtime().run(etcd.leader())
        flowing = [pool.submit(order_until_accepted, http, number) for number in range(2 * ORDERS)]
        flowing[ORDERS // 2].result()
        os.kill(system.pid(leader), signal.SIGKILL)
        flowing[ORDERS].result()
        runtime().run(etcd.kill(member))
        log = [order.result() for order in flowing]
        runtime().run(etcd.start(member))
        order_ids = [order_id for order_id, _ in log]
        eventually(lambda: not unfinished(http, order_ids), "every accepted order ends", END_TIMEOUT_S)
        assert_books_agree(http, system, log, before)
        assert set(order_ids) <= captures(system).keys()
        assert executor_leader(system)[1] > epoch
