"""What is told of an order's story, at each of its stages and with parts away."""

from typing import Any

import msgspec
import pytest

from orchestrator.ports import OrderRecord, OrderState, Refund
from orchestrator.story import Claim, OrderStory
from tests.support.shiviz import parse
from tests.unit.orchestrator.api import check_answer
from tests.unit.orchestrator.fakes import INSTRUMENT
from tests.unit.orchestrator.test_app import Shop
from utils.clocks.story import Event
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import PricedItem, QueuedOrder, Reason

ORDER_ID = "0" * 31 + "7"
ORDER = QueuedOrder(ORDER_ID, (PricedItem("Book A", 1, 1999),), 0, 1999, INSTRUMENT)
CODE = "PAY-1"
EXECUTOR_COUNTS = 3 << 20


def event(host: str, name: str, number: int = 0, **counts: int) -> Event:
    """Of an attempt, and then after the order's arrival in the queue, if it has a number."""
    known = {"orchestrator": 1, "transaction_verification": 1, "order_queue": 1} if number else {}
    return Event(host, name, VectorClock(known | counts), epoch=3 if number else 0, number=number)


RECEIVED = event("orchestrator", "received", orchestrator=1)
A = event("transaction_verification", "A", orchestrator=1, transaction_verification=1)
ENQUEUED = event("order_queue", "enqueued", orchestrator=1, transaction_verification=1, order_queue=1)
PREPARE = event("order_executor", "prepare", 2, order_executor=EXECUTOR_COUNTS + 1)
VOTES = (
    event("database", "busy", 1, order_executor=EXECUTOR_COUNTS, database=1),
    event("database", "prepared", 2, order_executor=EXECUTOR_COUNTS + 1, database=2),
    event("payment", "prepared", 2, order_executor=EXECUTOR_COUNTS + 1, payment=1),
)
DECIDED = event("order_executor", "commit decided", 2, order_executor=EXECUTOR_COUNTS + 2, database=2, payment=1)
COMMITTED = event("database", "committed", 2, order_executor=EXECUTOR_COUNTS + 2, database=3, payment=1)
PENDING = OrderStory(
    OrderRecord(ORDER_ID, OrderState.PENDING, order=ORDER),
    41,
    (RECEIVED, A, ENQUEUED),
)
UNDER_WAY = msgspec.structs.replace(
    PENDING,
    claim=Claim("order_executor_2", 3),
    under_way=(3, 2),
    events=(*PENDING.events, PREPARE, *VOTES),
)
COMMITTING = msgspec.structs.replace(
    UNDER_WAY,
    under_way=None,
    events=(*UNDER_WAY.events, DECIDED, COMMITTED),
)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def trace(shop: Shop, story: OrderStory) -> dict[str, Any]:
    shop.stories.known[ORDER_ID] = story
    answer = shop.get(f"/v2/orders/{ORDER_ID}/trace", "/v2/orders/{orderId}/trace")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.get_json()
    return told


def test_an_order_that_waits_says_for_what(shop: Shop) -> None:
    told = trace(shop, PENDING)
    assert (told["status"], told["queue"]["position"], told["queue"]["ended"]) == ("PENDING", 41, False)
    assert told["pending"] == ["an executor takes the order", "the queue hears the result"]
    assert [each["event"] for each in told["events"]] == ["received", "A", "enqueued"]
    assert (told["attempts"], told["decision"], told["deliveries"]) == ([], None, {})


def test_an_attempt_under_way_and_one_given_up_are_told_with_their_votes(shop: Shop) -> None:
    told = trace(shop, UNDER_WAY)
    assert told["queue"]["claim"] == {"executor": "order_executor_2", "epoch": 3}
    assert told["attempts"] == [
        {"epoch": 3, "number": 1, "state": "given up", "votes": {"database": "busy"}},
        {"epoch": 3, "number": 2, "state": "under way", "votes": {"database": "commit", "payment": "commit"}},
    ]
    assert told["pending"] == ["attempt 3.2 is decided", "the queue hears the result"]
    assert told["unrecorded"] == ["the beginning of attempt 3.1: only its leader knew of it"]


def test_a_decision_is_told_with_who_has_carried_it_out(shop: Shop) -> None:
    told = trace(shop, COMMITTING)
    assert told["decision"] == {"commit": True, "attempt": {"epoch": 3, "number": 2}}
    assert told["deliveries"] == {"database": "committed"}
    assert told["pending"] == ["payment carries the decision out", "the queue hears the result"]
    assert [each["state"] for each in told["attempts"]] == ["given up", "committed"]


def test_an_ended_order_has_nothing_pending(shop: Shop) -> None:
    record = OrderRecord(ORDER_ID, OrderState.APPROVED, order=ORDER, confirmation_code=CODE)
    ended = msgspec.structs.replace(COMMITTING, record=record, claim=None)
    told = trace(shop, ended)
    assert (told["pending"], told["confirmationCode"]) == ([], CODE)
    assert "which executor claimed the order: only the queue's leader of that time knew" in told["unrecorded"]


@pytest.mark.parametrize("code", ["", "REF-1"])
def test_a_refund_is_part_of_the_story(shop: Shop, code: str) -> None:
    refund = Refund("The parcel was lost.", 1_900_000_000_000, code)
    record = OrderRecord(ORDER_ID, OrderState.APPROVED, order=ORDER, confirmation_code=CODE, refund=refund)
    told = trace(shop, msgspec.structs.replace(COMMITTING, record=record, claim=None))
    assert told["status"] == "Order Approved"
    assert told["pending"] == ([] if code else ["an executor carries the refund out"])
    assert told["refund"] == {
        "status": "REFUNDED" if code else "REQUESTED",
        "reason": "The parcel was lost.",
        "requestedAt": "2030-03-17T17:46:40+00:00",
        **({"refundCode": code} if code else {}),
    }


def test_a_rejection_by_verification_has_a_story_too(shop: Shop) -> None:
    reason = Reason("card_expired", "The card has expired.", "/creditCard/expirationDate")
    record = OrderRecord(ORDER_ID, OrderState.REJECTED, reasons=(reason,))
    kept = event("order_queue", "rejection recorded", orchestrator=1, transaction_verification=1, order_queue=1)
    told = trace(shop, OrderStory(record, 5, (RECEIVED, A, kept)))
    assert (told["status"], told["reasons"][0]["code"]) == ("Order Rejected", "card_expired")
    assert [each["event"] for each in told["events"]] == ["received", "A", "rejection recorded"]
    assert (told["pending"], told["unrecorded"], told["attempts"], told["decision"]) == ([], [], [], None)


def test_a_part_that_is_away_is_named_and_a_log_without_it_refused(shop: Shop) -> None:
    away = msgspec.structs.replace(PENDING, missing={"order_executor": "no leader answered", "payment": "gone"})
    told = trace(shop, away)
    assert [part["part"] for part in told["missing"]] == ["order_executor", "payment"]
    assert told["pending"] == ["the queue hears the result"]
    path = "/v2/orders/{orderId}/clock"
    assert shop.get(f"/v2/orders/{ORDER_ID}/clock", path).status_code == 200
    refused = shop.get(f"/v2/orders/{ORDER_ID}/clock?format=shiviz", path)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "unavailable")
    assert "order_executor, payment" in refused.get_json()["error"]["message"]


def test_the_clocks_count_the_events_that_are_told_as_json_and_for_shiviz(shop: Shop) -> None:
    shop.stories.known[ORDER_ID] = COMMITTING
    answer = shop.get(f"/v2/orders/{ORDER_ID}/clock?format=json", "/v2/orders/{orderId}/clock")
    counted = [(each["host"], each["clock"]) for each in answer.get_json()["events"]]
    log = shop.client.get(f"/v2/orders/{ORDER_ID}/clock?format=shiviz")
    assert log.mimetype == "text/plain"
    events = parse(log.text)
    assert counted == [(each.host, each.clock) for each in events]
    assert events[1].text == "A: items checked"
    assert events[-1].text == "committed (attempt 3.2)"


@pytest.mark.parametrize("kind", ["trace", "clock"])
@pytest.mark.parametrize("order_id", ["f" * 32, "F" * 32, "unknown"])
def test_an_unknown_order_is_not_found(shop: Shop, kind: str, order_id: str) -> None:
    answer = shop.get(f"/v2/orders/{order_id}/{kind}", f"/v2/orders/{{orderId}}/{kind}")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "order_not_found")


def test_an_unknown_format_is_refused(shop: Shop) -> None:
    shop.stories.known[ORDER_ID] = PENDING
    answer = shop.client.get(f"/v2/orders/{ORDER_ID}/clock?format=png")
    check_answer("get", "/v2/orders/{orderId}/clock", answer)  # type: ignore[arg-type]
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "request_invalid")
