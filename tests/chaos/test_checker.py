"""The checker finds each lie and each loss that is planted in a recorded log, and nothing in an honest one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from tests.chaos.checker import Rule, check
from tests.chaos.evidence import Capture, Evidence, Record, Shelved
from tests.chaos.history import APPROVED, PENDING, REJECTED, Exchange, History, Means, Purchase, Refund, Route

HEALED_AT_S = 100.0


@dataclass
class Log:
    """A run as it was recorded: three buyers of an edition of two copies, and some that had to be refused."""

    history: History
    evidence: Evidence

    def exchange(self, key: str, **changes: Any) -> None:
        """One more exchange of a purchase, like its last one but for `changes`."""
        last = [exchange for exchange in self.history.exchanges if exchange.key == key][-1]
        self.history.exchanges.append(replace(last, **changes))

    def alter(self, key: str, **changes: Any) -> None:
        """All that a purchase's client was told changes."""
        self.history.exchanges = [
            replace(exchange, **changes) if exchange.key == key else exchange for exchange in self.history.exchanges
        ]

    def forget(self, key: str, *, keep: int = 0) -> None:
        """Its client saw no more than the first `keep` exchanges."""
        seen = [exchange for exchange in self.history.exchanges if exchange.key == key]
        self.history.exchanges = [
            exchange for exchange in self.history.exchanges if exchange.key != key or exchange in seen[:keep]
        ]

    def capture(self, order_id: str, **changes: Any) -> None:
        self.evidence.captures = [
            replace(capture, **changes) if capture.order_id == order_id else capture
            for capture in self.evidence.captures
        ]

    def record(self, order_id: str, **changes: Any) -> None:
        self.evidence.records = [
            replace(record, **changes) if record.order_id == order_id else record for record in self.evidence.records
        ]


def purchase(key: str, items: dict[str, int], means: Means = Means.CARD) -> Purchase:
    return Purchase(key, items, means, shipping_cents=0, amount_cents=1000 * sum(items.values()))


def told(key: str, route: Route, at_s: float, **what: Any) -> Exchange:
    known: dict[str, Any] = {"http_status": 200, "order_id": f"order-{key}"}
    return Exchange(key=key, route=route, sent_at_s=at_s - 0.5, answered_at_s=at_s, **(known | what))


def approval(key: str, copies: int) -> dict[str, Any]:
    return {"order_status": APPROVED, "confirmation_code": f"PAY-{key}", "amount_cents": 1000 * copies}


def rejection(copies: int, *codes: str) -> dict[str, Any]:
    return {"order_status": REJECTED, "reason_codes": codes, "amount_cents": 1000 * copies}


def refusal(*codes: str) -> dict[str, Any]:
    return {"error_code": "order_rejected", "reason_codes": codes}


@pytest.fixture
def log() -> Log:
    wanted = [
        purchase("first", {"edition": 1, "plenty": 2}),
        purchase("second", {"edition": 1}),
        purchase("late", {"edition": 1}),
        purchase("transfer", {"plenty": 1}, Means.BANK_TRANSFER),
        purchase("expired", {"plenty": 1}, Means.EXPIRED_CARD),
        purchase("given up", {"plenty": 5}),
        purchase("returned", {"plenty": 4}),
    ]
    exchanges = [
        told("first", Route.CHECKOUT, 10, **approval("first", 3)),
        told("second", Route.CHECKOUT_V2, 11, http_status=0, order_id=""),
        told("second", Route.CHECKOUT_V2, 12, order_status=PENDING),
        told("second", Route.ORDER, 14, http_status=503, error_code="unavailable", order_id=""),
        told("second", Route.ORDER, 15, **approval("second", 1)),
        told("late", Route.CHECKOUT, 40, http_status=504, error_code="order_pending"),
        told("late", Route.ORDER, 101, **rejection(1, "out_of_stock")),
        told("transfer", Route.CHECKOUT, 20, **rejection(1, "payment_declined")),
        told("expired", Route.CHECKOUT_V2, 21, http_status=400, **refusal("card_expired")),
        told("returned", Route.CHECKOUT, 23, **approval("returned", 4)),
        told("given up", Route.CHECKOUT, 22, http_status=503, error_code="unavailable", order_id=""),
    ]  # fmt: skip
    history = History(
        {"edition": 2, "plenty": 100},
        {each.key: each for each in wanted},
        exchanges,
        healed_at_s=HEALED_AT_S,
        refunds={"order-returned": Refund(restock=True, codes=["REF-1", "REF-1"])},
    )
    evidence = Evidence(
        shelf={"edition": Shelved(0, 0), "plenty": Shelved(98, 0)},
        reservations=[],
        captures=[
            Capture("order-first", 3000, "PAY-first"),
            Capture("order-returned", 4000, "PAY-returned", "REF-1"),
            Capture("order-second", 1000, "PAY-second"),
        ],
        holds=[],
        records=[
            Record("order-first", "approved", 3000, "PAY-first", {"edition": 1, "plenty": 2}),
            Record("order-second", "approved", 1000, "PAY-second", {"edition": 1}),
            Record("order-late", "rejected", 1000, "", {"edition": 1}),
            Record("order-transfer", "rejected", 1000, "", {"plenty": 1}),
            Record("order-expired", "rejected", None, "", None),
            Record("order-returned", "approved", 4000, "PAY-returned", {"plenty": 4}, "REF-1"),
        ],
    )
    return Log(history, evidence)


def test_honest_run_has_no_violation(log: Log) -> None:
    assert check(log.history, log.evidence) == []


def no_end(log: Log) -> None:
    log.forget("second", keep=2)
    log.exchange("second", route=Route.ORDER, order_status=PENDING, sent_at_s=150, answered_at_s=150)


def end_after_the_limit(log: Log) -> None:
    log.forget("late", keep=1)
    log.exchange(
        "late", route=Route.ORDER, http_status=200, error_code="", sent_at_s=100, answered_at_s=131,
        **rejection(1, "out_of_stock"),
    )  # fmt: skip


def accepted_order_is_unknown(log: Log) -> None:
    unknown = {"http_status": 404, "error_code": "order_not_found", "order_id": "", "order_status": ""}
    log.exchange("first", route=Route.ORDER, sent_at_s=10.1, answered_at_s=10.2, **unknown)


def no_answer_ever(log: Log) -> None:
    log.exchange("given up", http_status=0, error_code="")


def pending_after_the_end(log: Log) -> None:
    log.exchange(
        "first", route=Route.ORDER, sent_at_s=10.1, answered_at_s=10.2,
        order_status=PENDING, confirmation_code="", amount_cents=None,
    )  # fmt: skip


def retry_hears_another_end(log: Log) -> None:
    log.exchange("first", **rejection(3, "out_of_stock"), confirmation_code="")


def retry_hears_another_confirmation_code(log: Log) -> None:
    log.exchange("first", confirmation_code="PAY-other")


def retry_gets_another_order(log: Log) -> None:
    log.exchange("first", order_id="order-other")


def server_error(log: Log) -> None:
    log.exchange("first", http_status=500, error_code="internal", order_status="")


def key_is_said_to_be_reused(log: Log) -> None:
    log.exchange("first", http_status=422, error_code="idempotency_key_reused", order_status="")


def valid_order_is_refused(log: Log) -> None:
    log.exchange("first", route=Route.CHECKOUT_V2, http_status=400, error_code="request_invalid", order_status="")


def price_changes(log: Log) -> None:
    log.alter("transfer", amount_cents=1500)


def our_fault_is_told_as_theirs(log: Log) -> None:
    log.alter("transfer", reason_codes=("verification_unavailable",))


def card_is_declined(log: Log) -> None:
    log.history.purchases["late"] = purchase("late", {"edition": 1}, Means.CARD)
    log.alter("late", reason_codes=("payment_declined",))


def rejected_while_copies_are_left(log: Log) -> None:
    log.evidence.shelf["edition"] = Shelved(1, 0)
    log.history.initial_stock["edition"] = 3


def expired_card_is_approved(log: Log) -> None:
    log.history.purchases["second"] = purchase("second", {"edition": 1}, Means.EXPIRED_CARD)


def more_copies_are_sold_than_there_were(log: Log) -> None:
    log.history.initial_stock["edition"] = 1


def copies_vanish(log: Log) -> None:
    log.evidence.shelf["plenty"] = Shelved(97, 0)


def book_vanishes(log: Log) -> None:
    del log.evidence.shelf["plenty"]


def reservation_leaks(log: Log) -> None:
    log.evidence.reservations.append("order-late")


def copies_stay_reserved(log: Log) -> None:
    log.evidence.shelf["plenty"] = Shelved(98, 1)


def hold_leaks(log: Log) -> None:
    log.evidence.holds.append("order-late")


def approved_order_is_not_charged(log: Log) -> None:
    log.evidence.captures.pop()


def order_is_captured_twice(log: Log) -> None:
    log.evidence.captures.append(log.evidence.captures[0])


def charged_too_much(log: Log) -> None:
    log.capture("order-first", amount_cents=3001)


def captured_by_another_attempt(log: Log) -> None:
    log.capture("order-first", confirmation_code="PAY-other")


def rejected_order_is_charged(log: Log) -> None:
    log.evidence.captures.append(Capture("order-late", 1000, "PAY-late"))


def order_that_nobody_was_told_of_is_charged(log: Log) -> None:
    log.evidence.captures.append(Capture("order-given up", 5000, "PAY-given up"))


def refund_is_not_carried_out(log: Log) -> None:
    log.capture("order-returned", refund_code="")


def refund_is_never_told_as_done(log: Log) -> None:
    log.history.refunds["order-returned"].codes = []


def refund_is_not_recorded(log: Log) -> None:
    log.record("order-returned", refund_code="")


def refund_has_two_codes(log: Log) -> None:
    log.history.refunds["order-returned"].codes.append("REF-2")


def order_is_refunded_that_nobody_asked_for(log: Log) -> None:
    log.capture("order-second", refund_code="REF-2")


def copies_are_put_back_twice(log: Log) -> None:
    log.evidence.shelf["plenty"] = Shelved(102, 0)


def lost_copies_are_put_back(log: Log) -> None:
    log.history.refunds["order-returned"].restock = False


def record_is_missing(log: Log) -> None:
    log.evidence.records.pop(0)


def record_says_another_end(log: Log) -> None:
    log.record("order-late", state="approved")


def record_has_other_items(log: Log) -> None:
    log.record("order-first", items={"edition": 1, "plenty": 1})


def stranger_is_recorded(log: Log) -> None:
    log.evidence.records.append(Record("order-given up", "approved", 5000, "PAY-given up", {"plenty": 5}))


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (no_end, {Rule.LOST, Rule.STOCK, Rule.CHARGED_FOR_NOTHING}),
        (end_after_the_limit, {Rule.LATE}),
        (accepted_order_is_unknown, {Rule.FORGOTTEN}),
        (no_answer_ever, {Rule.UNANSWERED}),
        (pending_after_the_end, {Rule.REOPENED}),
        (retry_hears_another_end, {Rule.CONTRADICTED}),
        (retry_hears_another_confirmation_code, {Rule.CONTRADICTED}),
        (retry_gets_another_order, {Rule.TWO_ORDERS}),
        (server_error, {Rule.MISANSWERED}),
        (key_is_said_to_be_reused, {Rule.MISANSWERED}),
        (valid_order_is_refused, {Rule.MISANSWERED}),
        (price_changes, {Rule.WRONG_AMOUNT}),
        (our_fault_is_told_as_theirs, {Rule.BLAMED}),
        (card_is_declined, {Rule.BLAMED}),
        (rejected_while_copies_are_left, {Rule.BLAMED}),
        (expired_card_is_approved, {Rule.UNDESERVED, Rule.RECORDED_WRONGLY}),
        (more_copies_are_sold_than_there_were, {Rule.OVERSOLD, Rule.STOCK}),
        (copies_vanish, {Rule.STOCK}),
        (book_vanishes, {Rule.STOCK}),
        (reservation_leaks, {Rule.RESERVED}),
        (copies_stay_reserved, {Rule.RESERVED}),
        (hold_leaks, {Rule.HELD}),
        (approved_order_is_not_charged, {Rule.NOT_CHARGED}),
        (order_is_captured_twice, {Rule.CHARGED_TWICE}),
        (charged_too_much, {Rule.CHARGED_WRONGLY}),
        (captured_by_another_attempt, {Rule.CHARGED_WRONGLY}),
        (rejected_order_is_charged, {Rule.CHARGED_FOR_NOTHING}),
        (order_that_nobody_was_told_of_is_charged, {Rule.CHARGED_FOR_NOTHING}),
        (refund_is_not_carried_out, {Rule.NOT_REFUNDED}),
        (refund_is_never_told_as_done, {Rule.NOT_REFUNDED}),
        (refund_is_not_recorded, {Rule.NOT_REFUNDED}),
        (refund_has_two_codes, {Rule.REFUND_CONTRADICTED}),
        (order_is_refunded_that_nobody_asked_for, {Rule.REFUNDED_FOR_NOTHING}),
        (copies_are_put_back_twice, {Rule.STOCK}),
        (lost_copies_are_put_back, {Rule.STOCK}),
        (record_is_missing, {Rule.NOT_RECORDED}),
        (record_says_another_end, {Rule.RECORDED_WRONGLY}),
        (record_has_other_items, {Rule.RECORDED_WRONGLY}),
        (stranger_is_recorded, {Rule.RECORDED_STRANGER}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_planted_violation_is_found(log: Log, plant: Callable[[Log], None], found: set[Rule]) -> None:
    plant(log)
    rules = {violation.rule for violation in check(log.history, log.evidence)}
    assert found <= rules
    # One cause may show in several places, but an unrelated rule stays silent.
    assert not rules & (set(Rule) - found - _CONSEQUENCES.get(plant, set()))


# What a planted violation shows beside what it is about.
_CONSEQUENCES: dict[Callable[[Log], None], set[Rule]] = {
    retry_hears_another_end: {Rule.STOCK, Rule.CHARGED_FOR_NOTHING, Rule.RECORDED_WRONGLY, Rule.BLAMED},
    retry_hears_another_confirmation_code: {Rule.CHARGED_WRONGLY, Rule.RECORDED_WRONGLY},
    retry_gets_another_order: {Rule.NOT_CHARGED, Rule.CHARGED_FOR_NOTHING, Rule.NOT_RECORDED, Rule.RECORDED_STRANGER},
    no_end: {Rule.RECORDED_STRANGER},
}


def test_every_rule_can_be_broken_by_some_plant() -> None:
    marks = [mark for mark in test_planted_violation_is_found.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    planted = set().union(*(found for _, found in marks[0].args[1]))
    assert planted == set(Rule)


def test_promise_of_30_seconds_counts_from_healing_only_for_orders_accepted_before(log: Log) -> None:
    log.history.purchases["after"] = purchase("after", {"plenty": 1}, Means.BANK_TRANSFER)
    log.history.exchanges += [
        told("after", Route.CHECKOUT_V2, 120, order_status=PENDING),
        told("after", Route.ORDER, 135, **rejection(1, "payment_declined")),
    ]
    log.evidence.records.append(Record("order-after", "rejected", 1000, "", {"plenty": 1}))
    assert check(log.history, log.evidence) == []
