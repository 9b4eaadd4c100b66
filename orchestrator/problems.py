"""What can go wrong with a request, as the client is told: one exception for each entry of the REST error table.

The flow raises these; `app` alone turns them into answers. A 5xx never says that an order was rejected.
"""

from typing import ClassVar

from utils.domain.order import Reason


class Problem(Exception):
    """An answer of 4xx or 5xx. The message is for people and holds neither card data nor the body's values."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    # Seconds; set where trying again is the right thing to do.
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, message: str, *, reasons: tuple[Reason, ...] = (), order_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reasons = reasons
        self.order_id = order_id


class BodyInvalid(Problem):
    """The body is not JSON as RFC 8259 has it, or no object."""

    status = 400
    code = "body_invalid"


class RequestInvalid(Problem):
    """The body is JSON, but no order: a wrong type or a broken limit. `reasons` name the field."""

    status = 400
    code = "request_invalid"


class KeyInvalid(Problem):
    status = 400
    code = "idempotency_key_invalid"


class QueryInvalid(Problem):
    """A parameter of the query string is missing or breaks a limit."""

    status = 400
    code = "query_invalid"


class OrderRejected(Problem):
    """Verification rejected an order of the asynchronous kind."""

    status = 400
    code = "order_rejected"


class OrderNotFound(Problem):
    status = 404
    code = "order_not_found"


class BookNotFound(Problem):
    status = 404
    code = "book_not_found"


class BodyTooSlow(Problem):
    """The body did not come in time."""

    status = 408
    code = "body_too_slow"


class BodyTooLarge(Problem):
    status = 413
    code = "body_too_large"


class UnsupportedMediaType(Problem):
    status = 415
    code = "unsupported_media_type"


class KeyReused(Problem):
    """The key belongs to an order with another body."""

    status = 422
    code = "idempotency_key_reused"


class TooManyRequests(Problem):
    """The client's address has its share of the requests in progress."""

    status = 429
    code = "too_many_requests"
    retry_after_s = 1


class Overloaded(Problem):
    """All clients together have as many requests in progress as there may be; this one was not begun."""

    status = 503
    code = "overloaded"
    retry_after_s = 1


class ComponentUnavailable(Problem):
    """A part of the system cannot answer, and nothing was ordered."""

    status = 503
    code = "unavailable"
    retry_after_s = 2


class QueueFull(Problem):
    """The queue takes no more orders for now, and did not take this one."""

    status = 503
    code = "queue_full"
    retry_after_s = 5


class OrderUnconfirmed(Problem):
    """Whether the order was accepted is not known."""

    status = 503
    code = "order_unconfirmed"
    retry_after_s = 2


class OrderPending(Problem):
    """The order was accepted and has not ended within the time that a client waits."""

    status = 504
    code = "order_pending"
    retry_after_s = 1
