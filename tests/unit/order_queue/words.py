"""Orders, results and commands for tests, with everything that a test does not care about filled in."""

import threading

from order_queue.commands import Bounds, Complete, Enqueue, Forget, MarkRecorded, RecordRejection, RequestRefund
from order_queue.order_heap import OrderHeap
from order_queue.order_record import OrderRecord, OrderResult, OrderState
from order_queue.queue_machine import QueueMachine
from utils.domain.order import Book, PaymentInstrument, PaymentMethod, PricedItem, QueuedOrder, Reason

BOUNDS = Bounds(pending_max=100, unrecorded_max=100)
NO_STOCK = Reason("out_of_stock", "Book A is sold out.", "/items/0")


def order_id(number: int) -> str:
    return f"{number:016x}" * 2


def number_of(order_id: str) -> int:
    return int(order_id[:16], 16)


def fingerprint(number: int) -> bytes:
    return number.to_bytes(32, "big")


def order(number: int, quantity: int = 1) -> QueuedOrder:
    return QueuedOrder(
        order_id=order_id(number),
        items=(PricedItem("Book A", quantity, 1_250),),
        shipping_cents=499,
        amount_cents=quantity * 1_250 + 499,
        instrument=PaymentInstrument(PaymentMethod.CARD, "visa", "1111"),
        suggested_books=(Book("book-b", "Book B", "B. Author"),),
        risk_score=12,
        clock={"transaction_verification": 3, "fraud_detection": 2, "suggestions": 1},
        accepted_at_ms=1_900_000_000_000,
        customer_hash="c0ffee00" * 4,
    )


def enqueue(number: int, quantity: int = 1, *, body: int = 1, bounds: Bounds = BOUNDS) -> Enqueue:
    return Enqueue(order(number, quantity), fingerprint(body), bounds)


def rejection(number: int, *, body: int = 1, bounds: Bounds = BOUNDS) -> RecordRejection:
    reason = Reason("card_number_invalid", "The card's number is not valid.", "/creditCard/number")
    return RecordRejection(order_id(number), fingerprint(body), (reason,), 40, bounds)


def approved(number: int, *, epoch: int = 1, code: str = "") -> OrderResult:
    return OrderResult(order_id(number), epoch, approved=True, confirmation_code=code or f"CODE-{number}")


def rejected(number: int, *, epoch: int = 1) -> OrderResult:
    return OrderResult(order_id(number), epoch, approved=False, reasons=(NO_STOCK,))


def complete(*results: OrderResult) -> Complete:
    return Complete(results)


def mark_recorded(up_to_index: int) -> MarkRecorded:
    return MarkRecorded(up_to_index)


def forget(up_to_index: int, orders_max: int = 100) -> Forget:
    return Forget(up_to_index, orders_max)


def request_refund(
    number: int, *, restock: bool = True, bounds: Bounds = BOUNDS, archived: bool = False
) -> RequestRefund:
    """`archived`: with what PostgreSQL says of it, that it was approved long ago."""
    known = OrderRecord(order_id(number), OrderState.APPROVED, 1, fingerprint(1), order=order(number), ended_index=1)
    at_ms = 1_900_000_000_000
    return RequestRefund(
        order_id(number), "ada", "The parcel was lost.", restock, at_ms, bounds, known if archived else None
    )


def machine(ageing: int = 0) -> QueueMachine:
    return QueueMachine(OrderHeap(threading.Lock(), ageing=ageing))
