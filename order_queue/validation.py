"""Requests of the wire as commands of the queue: nothing enters the log that is not checked here.

Whatever is stored must also fit PostgreSQL, or a single order would hold up all records for ever: numbers fit its
bigint, and no text holds a NUL.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from order_queue.order_record import OrderResult
from utils.domain.money import AMOUNT_CENTS_MAX
from utils.domain.order import (
    ITEMS_MAX,
    ORDER_ID,
    QUANTITY_MAX,
    REASONS_MAX,
    TEXT_LENGTH_MAX,
    TITLE_LENGTH_MAX,
    QueuedOrder,
    Reason,
)
from utils.pb import order_pb2, order_queue_pb2, refund_pb2
from utils.pb.convert import (
    packed_clock_from_proto,
    packed_story_from_proto,
    queued_order_from_proto,
    reason_from_proto,
)
from utils.rpc.errors import InvalidArgument

# So that a full answer to a poll stays well below the largest message.
ORDER_BYTES_MAX: Final = 64 * 1024
HANDED_OUT_MAX: Final = 128
HELD_MAX: Final = 10_000
RESULTS_MAX: Final = 1_000

_FINGERPRINT_BYTES: Final = 32
_SUGGESTED_BOOKS_MAX: Final = 50
_CLOCK_ENTRIES_MAX: Final = 16
_NAME_LENGTH_MAX: Final = 100
_RISK_SCORE_MAX: Final = 100
# The last millisecond of the year 9999.
_TIME_MS_MAX: Final = 253_402_300_799_999
_EPOCH_MAX: Final = 2**63 - 1
# Promise 10: no more than this of a card or an account.
_LAST_FOUR: Final = re.compile(r"[0-9A-Z]{0,4}")
_CUSTOMER_HASH: Final = re.compile(r"([0-9a-f]{32})?")


@dataclass(frozen=True)
class PollRequest:
    executor_id: str
    epoch: int
    held_order_ids: frozenset[str]
    orders_max: int
    wait_s: float


def order_id(value: str) -> str:
    """The order id. Raises InvalidArgument, as everything here does."""
    _require(ORDER_ID.fullmatch(value) is not None, "order_id must be 32 lower-case hexadecimal digits")
    return value


def fingerprint(value: bytes) -> bytes:
    _require(len(value) == _FINGERPRINT_BYTES, f"fingerprint must be {_FINGERPRINT_BYTES} bytes")
    return value


def risk_score(value: int) -> int:
    _require(value <= _RISK_SCORE_MAX, f"risk_score must be from 0 to {_RISK_SCORE_MAX}")
    return value


def queued_order(message: order_queue_pb2.QueuedOrder) -> QueuedOrder:
    """The order to enqueue; its amount is the sum of what it is made of."""
    _require(message.ByteSize() <= ORDER_BYTES_MAX, f"an order must not be larger than {ORDER_BYTES_MAX} bytes")
    order_id(message.order_id)
    risk_score(message.risk_score)
    _items(message)
    _text("instrument.brand", message.instrument.brand, _NAME_LENGTH_MAX)
    last_four_ok = _LAST_FOUR.fullmatch(message.instrument.last_four) is not None
    _require(last_four_ok, "instrument.last_four must be at most four digits or letters")
    _bounded("suggested_books", message.suggested_books, 0, _SUGGESTED_BOOKS_MAX)
    for book in message.suggested_books:
        for name, value in (("book_id", book.book_id), ("title", book.title), ("author", book.author)):
            _text(f"suggested_books.{name}", value, TEXT_LENGTH_MAX)
    _text("discount_code", message.discount_code, TEXT_LENGTH_MAX)
    _require(len(message.clock.entries) <= _CLOCK_ENTRIES_MAX, "clock has too many entries")
    for node_id, events in message.clock.entries.items():
        _text("clock's node id", node_id, _NAME_LENGTH_MAX)
        _require(events <= _EPOCH_MAX, "clock's entry is too large")
    _require(message.accepted_at_ms <= _TIME_MS_MAX, "accepted_at_ms must be before the year 10000")
    hash_ok = _CUSTOMER_HASH.fullmatch(message.customer_hash) is not None
    _require(hash_ok, "customer_hash must be 32 lower-case hexadecimal digits, or empty")
    return queued_order_from_proto(message)


def reasons(messages: Sequence[order_pb2.Reason]) -> tuple[Reason, ...]:
    """The reasons of a rejection: at least one, each with a code."""
    _bounded("reasons", messages, 1, REASONS_MAX)
    for message in messages:
        _require(message.code != "", "a reason must have a code")
        _text("a reason's code", message.code, _NAME_LENGTH_MAX)
        _text("a reason's message", message.message, TEXT_LENGTH_MAX)
        _text("a reason's field", message.field, TEXT_LENGTH_MAX)
    return tuple(reason_from_proto(message) for message in messages)


def results(messages: Sequence[order_queue_pb2.OrderResult]) -> tuple[OrderResult, ...]:
    """What the executor says that orders ended with."""
    _bounded("results", messages, 1, RESULTS_MAX)
    return tuple(_result(message) for message in messages)


def poll_request(message: order_queue_pb2.DequeueRequest) -> PollRequest:
    """The poll of an executor; a larger `max_orders` than one answer can carry is lowered."""
    _require(message.executor_id != "", "executor_id is missing")
    _text("executor_id", message.executor_id, _NAME_LENGTH_MAX)
    _bounded("held_order_ids", message.held_order_ids, 0, HELD_MAX)
    _require(message.max_orders > 0, "max_orders must be at least 1")
    return PollRequest(
        executor_id=message.executor_id,
        epoch=_epoch(message.epoch),
        held_order_ids=frozenset(order_id(held) for held in message.held_order_ids),
        orders_max=min(message.max_orders, HANDED_OUT_MAX),
        wait_s=message.wait_ms / 1_000,
    )


def refund_words(operator: str, reason: str) -> tuple[str, str]:
    """Who asks for a refund, and why."""
    for name, value, length_max in (("operator", operator, _NAME_LENGTH_MAX), ("reason", reason, TEXT_LENGTH_MAX)):
        _require(value.strip() != "", f"{name} is missing")
        _text(name, value, length_max)
    return operator, reason


def refund_poll(message: refund_pb2.PollRefundsRequest) -> tuple[frozenset[str], int]:
    """The ids that are held, and how many more are wanted; more than one answer can carry are lowered."""
    _bounded("held_order_ids", message.held_order_ids, 0, HELD_MAX)
    _require(message.max_refunds > 0, "max_refunds must be at least 1")
    held = frozenset(order_id(held) for held in message.held_order_ids)
    return held, min(message.max_refunds, HANDED_OUT_MAX)


def refund_code(value: str) -> str:
    _require(value != "", "refund_code is missing")
    _text("refund_code", value, _NAME_LENGTH_MAX)
    return value


def _items(message: order_queue_pb2.QueuedOrder) -> None:
    _bounded("items", message.items, 1, ITEMS_MAX)
    amount_cents = message.shipping_cents
    for item in message.items:
        _require(item.title.strip() != "", "an item's title is missing")
        _text("an item's title", item.title, TITLE_LENGTH_MAX)
        _require(1 <= item.quantity <= QUANTITY_MAX, f"an item's quantity must be from 1 to {QUANTITY_MAX}")
        amount_cents += item.unit_price_cents * item.quantity
    _require(message.amount_cents <= AMOUNT_CENTS_MAX, f"amount_cents must be at most {AMOUNT_CENTS_MAX}")
    _require(message.amount_cents == amount_cents, "amount_cents must be the sum of the items and the shipping")


def _result(message: order_queue_pb2.OrderResult) -> OrderResult:
    _text("confirmation_code", message.confirmation_code, _NAME_LENGTH_MAX)
    if message.approved:
        _require(message.confirmation_code != "", "an approved order must have a confirmation code")
        _require(not message.reasons, "an approved order has no reasons")
    else:
        _require(message.confirmation_code == "", "a rejected order has no confirmation code")
    return OrderResult(
        order_id=order_id(message.order_id),
        epoch=_epoch(message.epoch),
        approved=message.approved,
        confirmation_code=message.confirmation_code,
        reasons=() if message.approved else reasons(message.reasons),
        story=packed_story_from_proto(message.story),
        clock=packed_clock_from_proto(message.clock),
    )


def _epoch(value: int) -> int:
    _require(0 < value <= _EPOCH_MAX, f"epoch must be from 1 to {_EPOCH_MAX}")
    return value


def _bounded(name: str, values: Sequence[object], shortest: int, longest: int) -> None:
    _require(shortest <= len(values) <= longest, f"{name} must have from {shortest} to {longest} entries")


def _text(name: str, value: str, length_max: int) -> None:
    _require(len(value) <= length_max, f"{name} must not be longer than {length_max} characters")
    _require("\0" not in value, f"{name} must not hold a NUL character")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidArgument(message)
