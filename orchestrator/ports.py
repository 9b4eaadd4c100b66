"""What the checkout needs of the rest of the system, in its own words; `clients` serves it over gRPC."""

import enum
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Protocol

import msgspec

from orchestrator.schemas import CheckoutRequest
from utils.clocks.story import Event, Story
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import Book, PaymentInstrument, PricedItem, QueuedOrder, Reason


class PricedCheckout(msgspec.Struct, frozen=True):
    """A request with the prices of its items."""

    order_id: str
    request: CheckoutRequest
    items: tuple[PricedItem, ...]
    # Titles that are not for sale; such an order is rejected by event A.
    unknown_titles: tuple[str, ...]
    shipping_cents: int
    amount_cents: int
    customer_hash: str


class Run(msgspec.Struct, frozen=True):
    """One run of verification."""

    order_id: str
    # 16 hexadecimal digits, random: a retry through another orchestrator is another run.
    run: str
    clock: VectorClock
    timeout_s: float


class Outcome(msgspec.Struct, frozen=True):
    """How a service ended its part. `reasons` are all that it found, whichever of its events they belong to."""

    clock: VectorClock
    reasons: tuple[Reason, ...] = ()
    # Not all of its events have happened. Without reasons of its own, another service stopped the run.
    stopped: bool = False
    # What has happened there, in order.
    events: tuple[Event, ...] = ()


class Service(enum.StrEnum):
    """The three that verify an order, as they are called in clocks and logs."""

    TRANSACTION_VERIFICATION = "transaction_verification"
    FRAUD_DETECTION = "fraud_detection"
    SUGGESTIONS = "suggestions"


class Finding(msgspec.Struct, frozen=True):
    """What one service says of an order."""

    outcome: Outcome
    # Of transaction verification, once event C has happened.
    instrument: PaymentInstrument | None = None
    # Of fraud detection.
    risk_score: int = 0
    # Of suggestions.
    books: tuple[Book, ...] = ()


class Trio(Protocol):
    """The three services that verify an order."""

    def begin(self, service: Service, order: PricedCheckout, run: Run) -> "Future[Finding]":
        """Starts one service's part. Cancelling the future cancels the call at the service.

        The future ends with the finding or with a `utils.rpc.errors.ServiceError`, within the run's timeout.
        """

    def stop(self, run: Run, cause: str) -> None:
        """Tells all three that an event has failed. Does not wait, never raises."""

    def forget(self, run: Run, final_clock: VectorClock, services: Collection[Service]) -> None:
        """Tells all three to drop the order, and `services`, whose end it counts, the final clock to compare.

        Does not wait, never raises.
        """


class OrderState(enum.StrEnum):
    PENDING = "PENDING"
    APPROVED = "Order Approved"
    REJECTED = "Order Rejected"


class Refund(msgspec.Struct, frozen=True):
    """An operator has taken an approved order back."""

    reason: str
    # Unix milliseconds.
    requested_at_ms: int
    # Empty until everything is done.
    refund_code: str


class OrderRecord(msgspec.Struct, frozen=True):
    """What the queue says of an order."""

    order_id: str
    state: OrderState
    fingerprint: bytes = b""
    # None for an order that verification rejected.
    order: QueuedOrder | None = None
    reasons: tuple[Reason, ...] = ()
    confirmation_code: str = ""
    risk_score: int = 0
    # How many orders are carried out before this one, where that was asked of a pending order.
    orders_ahead: int | None = None
    refund: Refund | None = None


class OrderQueue(Protocol):
    """All calls block for at most `timeout_s` and raise `utils.rpc.errors.ServiceError`."""

    def enqueue(self, order: QueuedOrder, fingerprint: bytes, story: Story, *, timeout_s: float) -> OrderRecord:
        """What won: this order, or what an earlier request with this id left."""

    def record_rejection(
        self,
        order_id: str,
        fingerprint: bytes,
        reasons: tuple[Reason, ...],
        risk_score: int,
        story: Story,
        *,
        timeout_s: float,
    ) -> OrderRecord:
        """What won, likewise."""

    def get_order(self, order_id: str, *, wait_s: float, timeout_s: float) -> OrderRecord:
        """The order now, or at its end if that comes within `wait_s`. Raises NotFound."""


class FoundBooks(msgspec.Struct, frozen=True):
    """Best first. `ranking` is "semantic" or "full-text"."""

    books: tuple[Book, ...]
    ranking: str


class RecommendedBooks(msgspec.Struct, frozen=True):
    """Best first. `source` is "vectors" or "static"."""

    books: tuple[Book, ...]
    source: str


class BookGuide(Protocol):
    """Both calls block for a bounded time and raise `utils.rpc.errors.ServiceError`."""

    def search(self, query: str, limit: int) -> FoundBooks: ...

    def recommend(self, titles: Sequence[str], limit: int) -> RecommendedBooks: ...


class Stock(msgspec.Struct, frozen=True):
    stock: int
    version: int
    reserved: int


class Snapshot(msgspec.Struct, frozen=True):
    """Prices and stock by title, as some database node had them."""

    prices_cents: dict[str, int]
    stock: dict[str, Stock]
    # At most how old it was when it was read; None: not known.
    stale_ms: int | None


class Database(Protocol):
    """All calls block for a bounded time and raise `utils.rpc.errors.ServiceError`."""

    def snapshot(self) -> Snapshot:
        """From any node, perhaps stale."""

    def price_cents(self, title: str) -> int | None:
        """Linearizable; None for a book that is not for sale."""

    def stock(self, title: str) -> Stock | None:
        """Linearizable; None for a book that is not there."""
