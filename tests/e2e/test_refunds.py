"""An operator refunds orders of the real system while its parts stand still and die."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import httpx
import psycopg
import pytest

from bookstore.postgres import database_url
from bookstore.running import RunningSystem
from bookstore.shop_client import bank_transfer_body, leader, order_body, refunds, stock
from bookstore.system import DB_NODES, PAYMENT, POSTGRES
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TITLE = "Harry Potter"
REASON = "Came back unopened."


def command(system: RunningSystem, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "bookstore", "--data-dir", str(system.data_directory), "orders", *arguments]


def refund(system: RunningSystem, order_id: str, *more: str) -> "subprocess.Popen[str]":
    """The command, while it waits. It hears Ctrl-C, also where the tests run in the background and do not."""
    full = command(system, "refund", order_id, "--reason", REASON, "--operator", "ada", "--wait", "120", *more)
    return subprocess.Popen(
        full,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, complaint = process.communicate(timeout=150)
    return process.returncode, output, complaint


def approved(http: httpx.Client, copies: int = 1) -> str:
    answer = http.post("/checkout", json=order_body((TITLE, copies))).json()
    assert answer["status"] == "Order Approved", answer
    order_id: str = answer["orderId"]
    return order_id


def told(http: httpx.Client, order_id: str) -> dict[str, Any]:
    refund: dict[str, Any] = http.get(f"/v2/orders/{order_id}").json().get("refund", {})
    return refund


def row(system: RunningSystem, order_id: str) -> Any:
    with psycopg.connect(database_url(system.data_directory, system.state.process(POSTGRES).port)) as connection:
        query = "SELECT state, refund->>'operator', refund->>'refund_code' FROM order_records WHERE order_id = %s"
        return connection.execute(query, (order_id,)).fetchone()


def test_a_refund_is_carried_out_once_though_the_executors_leader_dies_twice(
    system: RunningSystem, http: httpx.Client
) -> None:
    before = stock(system)[TITLE]
    order_id = approved(http, copies=3)
    assert stock(system)[TITLE] == before - 3
    still = [system.pid(node) for node in (PAYMENT, *DB_NODES)]
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    asking = refund(system, order_id)
    try:
        eventually(lambda: told(http, order_id).get("status") == "REQUESTED", "the queue keeps the request")
        # One leader dies before payment has refunded, the next one before the copies are back.
        os.kill(system.pid(leader(system, "order_executor")), signal.SIGKILL)
        os.kill(still[0], signal.SIGCONT)
        eventually(lambda: order_id in refunds(system), "payment refunds")
        os.kill(system.pid(leader(system, "order_executor")), signal.SIGKILL)
    finally:
        for pid in still:
            os.kill(pid, signal.SIGCONT)
    status, output, complaint = ended(asking)
    assert (status, complaint) == (0, "")
    code = refunds(system)[order_id]
    assert f"done, {code}" in output
    assert told(http, order_id)["status"] == "REFUNDED"
    assert (told(http, order_id)["reason"], told(http, order_id)["refundCode"]) == (REASON, code)
    assert stock(system)[TITLE] == before
    eventually(lambda: bool(row(system, order_id) == ("approved", "ada", code)), "PostgreSQL has the refund")
    # Once more, by somebody else.
    assert ended(refund(system, order_id, "--operator", "bob", "--no-restock")) == (0, output, "")
    assert (stock(system)[TITLE], refunds(system)[order_id]) == (before, code)
    trace = http.get(f"/v2/orders/{order_id}/trace").json()
    happened = [(each["host"], each["event"]) for each in trace["events"]][-4:]
    assert happened == [
        ("order_queue", "refund requested"),
        ("payment", "refunded"),
        ("database", "restocked"),
        ("order_queue", "refunded"),
    ]
    assert (trace["status"], trace["pending"]) == ("Order Approved", [])


def test_a_command_that_is_stopped_stops_no_refund_and_lost_copies_stay_lost(
    system: RunningSystem, http: httpx.Client
) -> None:
    before = stock(system)[TITLE]
    order_id = approved(http)
    payment = system.pid(PAYMENT)
    os.kill(payment, signal.SIGSTOP)
    asking = refund(system, order_id, "--no-restock")
    try:
        eventually(lambda: told(http, order_id).get("status") == "REQUESTED", "the queue keeps the request")
        asking.send_signal(signal.SIGINT)
        status, _, complaint = ended(asking)
        assert (status, complaint) == (1, "Stopped. A refund that is requested goes on by itself.\n")
        shown = subprocess.run(command(system, "show", order_id), capture_output=True, text=True, check=True)
        assert "the copies are lost; not done yet" in shown.stdout
        assert "Traceback" not in shown.stderr
    finally:
        os.kill(payment, signal.SIGCONT)
    eventually(lambda: told(http, order_id)["status"] == "REFUNDED", "the refund ends by itself")
    assert stock(system)[TITLE] == before - 1


def test_what_cannot_be_refunded_is_said_in_a_line(system: RunningSystem, http: httpx.Client) -> None:
    rejected = http.post("/checkout", json=bank_transfer_body((TITLE, 1))).json()["orderId"]
    before = stock(system), refunds(system)
    for order_id, complaint in (
        (rejected, f"order {rejected} is rejected: only an approved order is refunded (failed_precondition)\n"),
        ("f" * 32, f"order {'f' * 32} is not known (not_found)\n"),
        ("42", "order_id must be 32 lower-case hexadecimal digits (invalid_argument)\n"),
    ):
        assert ended(refund(system, order_id)) == (1, "", complaint)
    assert (stock(system), refunds(system)) == before


async def test_two_operators_at_once_ask_for_one_refund(system: RunningSystem, http: httpx.Client) -> None:
    before = stock(system)[TITLE]
    order_id = approved(http)
    processes = [refund(system, order_id, "--operator", name) for name in ("ada", "bob")]
    (first, output, _), (second, other, _) = await asyncio.gather(*(asyncio.to_thread(ended, one) for one in processes))
    assert (first, second) == (0, 0)
    assert output == other
    assert stock(system)[TITLE] == before
