"""What clients are answered, as JSON has it. Shapes: utils/api/bookstore.yaml."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Response

from orchestrator.ports import OrderRecord, OrderState, Refund
from orchestrator.problems import Problem
from utils.domain.order import Book, Reason


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status=status, headers=headers, mimetype="application/json")


def order_location(order_id: str) -> str:
    return f"/v2/orders/{order_id}"


def order_answer(record: OrderRecord) -> dict[str, Any]:
    """Order, and EndedOrder once it has ended."""
    order = record.order
    answer: dict[str, Any] = {
        "orderId": record.order_id,
        "status": str(record.state),
        "suggestedBooks": (
            book_answers(order.suggested_books) if order and record.state is OrderState.APPROVED else []
        ),
        "reasons": [reason_answer(reason) for reason in record.reasons],
        "riskScore": record.risk_score,
    }
    if record.confirmation_code:
        answer["confirmationCode"] = record.confirmation_code
    if record.orders_ahead is not None:
        answer["ordersAhead"] = record.orders_ahead
    if order is not None:
        answer["amountCents"] = order.amount_cents
        answer["clock"] = order.clock
    if record.refund is not None:
        answer["refund"] = refund_answer(record.refund)
    return answer


def refund_answer(refund: Refund) -> dict[str, str]:
    """Refund."""
    answer = {
        "status": "REFUNDED" if refund.refund_code else "REQUESTED",
        "reason": refund.reason,
        "requestedAt": datetime.fromtimestamp(refund.requested_at_ms / 1_000, UTC).isoformat(),
    }
    if refund.refund_code:
        answer["refundCode"] = refund.refund_code
    return answer


def book_answers(books: Sequence[Book]) -> list[dict[str, str]]:
    """Book, for each."""
    return [{"bookId": book.book_id, "title": book.title, "author": book.author} for book in books]


def problem_response(problem: Problem) -> Response:
    """Error, with the headers that say what to do."""
    headers: dict[str, str] = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.order_id:
        headers["Location"] = order_location(problem.order_id)
    return json_response(
        error_answer(problem.code, problem.message, problem.reasons, problem.order_id),
        status=problem.status,
        headers=headers,
    )


def error_answer(code: str, message: str, reasons: tuple[Reason, ...] = (), order_id: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if reasons:
        error["reasons"] = [reason_answer(reason) for reason in reasons]
    return {"error": error, "orderId": order_id} if order_id else {"error": error}


def reason_answer(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "message": reason.message, "field": reason.field}
