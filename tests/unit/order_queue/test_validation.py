"""What the queue refuses to take, each with a message that names it."""

from collections.abc import Callable

import pytest

from order_queue import validation
from tests.unit.order_queue import words
from tests.unit.order_queue.harness import approved, enqueue_request, rejected, rejection_request
from utils.domain.order import ITEMS_MAX, QUANTITY_MAX, REASONS_MAX, TEXT_LENGTH_MAX, TITLE_LENGTH_MAX
from utils.pb import order_pb2, order_queue_pb2 as pb
from utils.pb.convert import queued_order_to_proto
from utils.rpc.errors import InvalidArgument


def order() -> pb.QueuedOrder:
    return queued_order_to_proto(words.order(1, 2))


def test_a_good_order_passes_unchanged() -> None:
    assert validation.queued_order(order()) == words.order(1, 2)


def test_the_largest_order_passes() -> None:
    message = order()
    del message.items[:]
    for number in range(ITEMS_MAX):
        title = f"{number:03d}".ljust(TITLE_LENGTH_MAX, "x")
        message.items.add(title=title, quantity=QUANTITY_MAX, unit_price_cents=10)
    message.shipping_cents = 0
    message.amount_cents = ITEMS_MAX * QUANTITY_MAX * 10
    assert validation.queued_order(message).quantity == ITEMS_MAX * QUANTITY_MAX


def _set(**fields: object) -> Callable[[pb.QueuedOrder], None]:
    def change(message: pb.QueuedOrder) -> None:
        message.MergeFrom(pb.QueuedOrder(**fields))  # type: ignore[arg-type]

    return change


def _first_item(**fields: object) -> Callable[[pb.QueuedOrder], None]:
    def change(message: pb.QueuedOrder) -> None:
        for name, value in fields.items():
            setattr(message.items[0], name, value)
        message.amount_cents = message.items[0].quantity * message.items[0].unit_price_cents + message.shipping_cents

    return change


def _no_items(message: pb.QueuedOrder) -> None:
    del message.items[:]
    message.amount_cents = message.shipping_cents


def _unknown_method(message: pb.QueuedOrder) -> None:
    message.instrument.method = order_pb2.PAYMENT_METHOD_UNSPECIFIED


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set(order_id="1234"), "order_id"),
        (_set(order_id="A" * 32), "order_id"),
        (_set(order_id="0" * 33), "order_id"),
        (_no_items, "items"),
        (_set(items=[order_pb2.PricedItem(title="B", quantity=1)] * ITEMS_MAX), "items"),
        (_first_item(title=" "), "title"),
        (_first_item(title="x" * (TITLE_LENGTH_MAX + 1)), "title"),
        (_first_item(title="Book\0A"), "title"),
        (_first_item(quantity=0), "quantity"),
        (_first_item(quantity=QUANTITY_MAX + 1), "quantity"),
        (_first_item(unit_price_cents=10**12), "amount_cents must be at most"),
        (_set(amount_cents=1), "amount_cents must be the sum"),
        (_set(shipping_cents=1), "amount_cents must be the sum"),
        (_unknown_method, "payment_method"),
        (_set(instrument=order_pb2.PaymentInstrument(last_four="41111")), "last_four"),
        (_set(instrument=order_pb2.PaymentInstrument(brand="v" * 101)), "brand"),
        (_set(suggested_books=[order_pb2.Book(title="B")] * 51), "suggested_books"),
        (_set(suggested_books=[order_pb2.Book(author="\0")]), "author"),
        (_set(risk_score=101), "risk_score"),
        (_set(discount_code="x" * (TEXT_LENGTH_MAX + 1)), "discount_code"),
        (_set(clock={"entries": {f"node_{n}": 1 for n in range(20)}}), "clock"),
        (_set(clock={"entries": {"suggestions": 2**63}}), "clock"),
        (_set(accepted_at_ms=253_402_300_800_000), "accepted_at_ms"),
        (_set(customer_hash="somebody"), "customer_hash"),
        (_set(suggested_books=[order_pb2.Book(title="x" * 500, author="𝔸" * 500)] * 45), "larger than 65536 bytes"),
    ],
)
def test_a_wrong_order_is_refused(change: Callable[[pb.QueuedOrder], None], named: str) -> None:
    message = order()
    change(message)
    with pytest.raises(InvalidArgument, match=named):
        validation.queued_order(message)


@pytest.mark.parametrize("value", [b"", b"x" * 31, b"x" * 33])
def test_a_fingerprint_has_32_bytes(value: bytes) -> None:
    with pytest.raises(InvalidArgument, match="fingerprint"):
        validation.fingerprint(value)
    assert validation.fingerprint(enqueue_request(1).fingerprint) == words.fingerprint(1)


@pytest.mark.parametrize(
    ("reasons", "named"),
    [
        ([], "reasons"),
        ([order_pb2.Reason(code="c")] * (REASONS_MAX + 1), "reasons"),
        ([order_pb2.Reason(message="m")], "code"),
        ([order_pb2.Reason(code="c" * 101)], "code"),
        ([order_pb2.Reason(code="c", message="x" * (TEXT_LENGTH_MAX + 1))], "message"),
        ([order_pb2.Reason(code="c", field="\0")], "field"),
    ],
)
def test_a_rejection_has_reasons_within_bounds(reasons: list[order_pb2.Reason], named: str) -> None:
    assert validation.reasons(rejection_request(1).reasons) == words.rejection(1).reasons
    with pytest.raises(InvalidArgument, match=named):
        validation.reasons(reasons)
    with pytest.raises(InvalidArgument, match=named):
        validation.results([pb.OrderResult(order_id=words.order_id(1), epoch=1, reasons=reasons)])


@pytest.mark.parametrize(
    ("results", "named"),
    [
        ([], "results"),
        ([approved(1)] * 1_001, "results"),
        ([approved(1, epoch=0)], "epoch"),
        ([approved(1, epoch=2**63)], "epoch"),
        ([pb.OrderResult(order_id="x", epoch=1, approved=True, confirmation_code="C")], "order_id"),
        ([approved(1, code="")], "must have a confirmation code"),
        ([approved(1, code="C" * 101)], "confirmation_code"),
        ([pb.OrderResult(order_id=words.order_id(1), epoch=1, confirmation_code="C")], "no confirmation code"),
        (
            [
                pb.OrderResult(
                    order_id=words.order_id(1),
                    epoch=1,
                    approved=True,
                    confirmation_code="C",
                    reasons=[order_pb2.Reason(code="c")],
                )
            ],
            "no reasons",
        ),
    ],
)
def test_a_wrong_result_is_refused(results: list[pb.OrderResult], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        validation.results(results)


def test_good_results_pass_unchanged() -> None:
    results = validation.results([approved(1, epoch=4, code="CODE-1"), rejected(2, epoch=4)])
    assert results == (words.approved(1, epoch=4), words.rejected(2, epoch=4))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"executor_id": ""}, "executor_id"),
        ({"executor_id": "x" * 101}, "executor_id"),
        ({"epoch": 0}, "epoch"),
        ({"max_orders": 0}, "max_orders"),
        ({"held_order_ids": ["x"]}, "order_id"),
        ({"held_order_ids": [words.order_id(1)] * 10_001}, "held_order_ids"),
    ],
)
def test_a_wrong_poll_is_refused(fields: dict[str, object], named: str) -> None:
    good: dict[str, object] = {"executor_id": "order_executor_1", "epoch": 1, "max_orders": 1}
    validation.poll_request(pb.DequeueRequest(**good))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=named):
        validation.poll_request(pb.DequeueRequest(**{**good, **fields}))  # type: ignore[arg-type]


def test_a_poll_gets_no_more_than_one_answer_can_carry() -> None:
    message = pb.DequeueRequest(executor_id="order_executor_1", epoch=1, max_orders=10**6)
    assert validation.poll_request(message).orders_max == validation.HANDED_OUT_MAX
