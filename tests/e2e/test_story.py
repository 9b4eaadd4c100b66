"""Orders of the real system tell their story, also one whose executor's leader is killed in the middle."""

import itertools
import os
import signal
from typing import Any

import httpx
import pytest

from bookstore.running import RunningSystem
from bookstore.shop_client import bank_transfer_body, leader, order_body
from bookstore.system import PAYMENT
from tests.e2e.shop_http import exported
from tests.e2e.waiting import eventually
from tests.support.shiviz import LoggedEvent

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HOSTS = {
    "orchestrator", "transaction_verification", "fraud_detection", "suggestions",
    "order_queue", "order_executor", "database", "payment",
}  # fmt: skip


def trace(http: httpx.Client, order_id: str) -> dict[str, Any]:
    response = http.get(f"/v2/orders/{order_id}/trace")
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def has_ended(http: httpx.Client, order_id: str) -> bool:
    return bool(trace(http, order_id)["status"] != "PENDING")


def assert_in_causal_order(events: list[LoggedEvent], *steps: list[tuple[str, str]]) -> None:
    """Every event of a step, given by host and the beginning of its text, happened before each of the next step."""

    def named(step: list[tuple[str, str]]) -> list[LoggedEvent]:
        found = [
            [event for event in events if event.host == host and event.text.startswith(text)] for host, text in step
        ]
        assert all(len(each) == 1 for each in found), (step, found)
        return [event for each in found for event in each]

    for earlier, later in itertools.pairwise(steps):
        for event in named(earlier):
            for other in named(later):
                assert event.happened_before(other), (event, other)


FIRST_STEPS = (
    [("orchestrator", "checkout received")],
    [("transaction_verification", "A")],
    [("transaction_verification", "B")],
    [("fraud_detection", "D")],
    [("transaction_verification", "C")],
    [("fraud_detection", "E")],
)


def acceptance(events: list[LoggedEvent]) -> list[list[tuple[str, str]]]:
    """Suggestions are a courtesy: a busy machine accepts an order without event F."""
    last_steps = [[("suggestions", "F")], [("order_queue", "enqueued")]]
    return [*FIRST_STEPS, *(last_steps if any(event.host == "suggestions" for event in events) else last_steps[1:])]


def transaction(attempt: str, vote_of_payment: str, decided: str, end: str) -> tuple[list[tuple[str, str]], ...]:
    return (
        [("order_executor", f"prepare (attempt {attempt})")],
        [("database", f"prepared (attempt {attempt})"), ("payment", f"{vote_of_payment} (attempt {attempt})")],
        [("order_executor", f"{decided} (attempt {attempt})")],
        [("database", f"{end} (attempt {attempt})"), ("payment", f"{end} (attempt {attempt})")],
        [("order_queue", "completed")],
    )


def decided_attempt(told: dict[str, Any]) -> str:
    attempt = told["decision"]["attempt"]
    return f"{attempt['epoch']}.{attempt['number']}"


def test_an_approved_order_tells_its_way_through_every_service(http: httpx.Client) -> None:
    answers: list[dict[str, Any]] = []

    def is_suggested_to() -> bool:
        answers.append(http.post("/checkout", json=order_body(("Harry Potter", 1))).json())
        return "suggestions" in answers[-1]["clock"]

    eventually(is_suggested_to, "an order passes all services")
    order_id = answers[-1]["orderId"]
    events, told = exported(http, order_id), trace(http, order_id)
    assert {event.host for event in events} == HOSTS
    attempt = decided_attempt(told)
    assert_in_causal_order(
        events, *acceptance(events), *transaction(attempt, "prepared", "commit decided", "committed")
    )
    assert told["confirmationCode"] == http.get(f"/v2/orders/{order_id}").json()["confirmationCode"]
    assert told["deliveries"] == {"database": "committed", "payment": "committed"}
    assert told["attempts"][-1]["votes"] == {"database": "commit", "payment": "commit"}
    clocks = http.get(f"/v2/orders/{order_id}/clock").json()["events"]
    assert [each["clock"] for each in clocks] == [event.clock for event in events]


def test_a_declined_order_tells_who_voted_against_it(http: httpx.Client) -> None:
    order_id = http.post("/checkout", json=bank_transfer_body(("Harry Potter", 1))).json()["orderId"]
    told = trace(http, order_id)
    assert told["attempts"][-1]["votes"] == {"database": "commit", "payment": "abort"}
    assert [reason["code"] for reason in told["reasons"]] == ["payment_declined"]
    ending = transaction(decided_attempt(told), "declined", "reject decided", "aborted")
    events = exported(http, order_id)
    assert_in_causal_order(events, *acceptance(events), *ending)


def test_an_order_that_verification_rejects_tells_how_far_it_came(http: httpx.Client) -> None:
    body = order_body(("Harry Potter", 1))
    body["creditCard"]["expirationDate"] = "01/20"
    order_id = http.post("/checkout", json=body).json()["orderId"]
    told = trace(http, order_id)
    assert (told["status"], told["pending"], told["attempts"]) == ("Order Rejected", [], [])
    events = exported(http, order_id)
    assert_in_causal_order(events, *FIRST_STEPS[:4], [("order_queue", "rejection recorded")])
    assert {event.text[0] for event in events if event.host == "transaction_verification"} == {"A", "B"}


def test_an_order_whose_executor_leader_is_killed_tells_of_both_leaders(
    system: RunningSystem, http: httpx.Client
) -> None:
    payment = system.pid(PAYMENT)
    # While payment stands still, the attempt stays under way with the database's vote alone.
    os.kill(payment, signal.SIGSTOP)
    try:
        order_id = http.post("/v2/checkout", json=order_body(("Clean Code", 1))).json()["orderId"]

        def is_half_prepared() -> bool:
            return any(each["votes"] == {"database": "commit"} for each in trace(http, order_id)["attempts"])

        eventually(is_half_prepared, "the database votes")
        under_way = trace(http, order_id)
        assert [part["part"] for part in under_way["missing"]] == ["payment"]
        assert under_way["queue"]["claim"]["executor"] == leader(system, "order_executor")
        [first] = under_way["attempts"]
        assert first["state"] == "under way"
        assert http.get(f"/v2/orders/{order_id}/clock", params={"format": "shiviz"}).status_code == 503
        os.kill(system.pid(leader(system, "order_executor")), signal.SIGKILL)
    finally:
        os.kill(payment, signal.SIGCONT)
    eventually(lambda: has_ended(http, order_id), "the next leader ends the order")
    told, events = trace(http, order_id), exported(http, order_id)
    assert told["status"] == "Order Approved"
    assert told["decision"]["attempt"]["epoch"] > first["epoch"]
    given_up = f"{first['epoch']}.{first['number']}"
    assert [each["state"] for each in told["attempts"]][:1] == ["given up"]
    assert f"the beginning of attempt {given_up}: only its leader knew of it" in told["unrecorded"]
    ending = transaction(decided_attempt(told), "prepared", "commit decided", "committed")
    assert_in_causal_order(events, *acceptance(events), *ending)
    first_vote = [("database", f"prepared (attempt {given_up})")]
    second_vote = [("database", f"prepared (attempt {decided_attempt(told)})")]
    assert_in_causal_order(events, acceptance(events)[-1], first_vote, second_vote, *ending[2:])
    assert {event.host for event in events} >= HOSTS - {"suggestions"}


def test_an_unknown_order_has_no_story(http: httpx.Client) -> None:
    for kind in ("trace", "clock"):
        response = http.get(f"/v2/orders/{'f' * 32}/{kind}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "order_not_found")
