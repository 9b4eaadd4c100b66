"""The life of an order at the orchestrator: price it, have it verified, have it accepted, tell its end.

Knows neither HTTP nor gRPC. What it must never do: say "rejected" for a fault of ours, or accept an order twice.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from orchestrator.deadline import Deadline, LatestEnd
from orchestrator.identity import Identities
from orchestrator.ports import OrderQueue, OrderRecord, OrderState, PricedCheckout
from orchestrator.problems import (
    ComponentUnavailable,
    KeyReused,
    OrderNotFound,
    OrderUnconfirmed,
    QueueFull,
    RequestInvalid,
)
from orchestrator.schemas import CheckoutRequest, parse_checkout
from orchestrator.single_flight import SingleFlight
from orchestrator.verification import Verdict
from utils.clocks.story import Story
from utils.domain.money import AMOUNT_CENTS_MAX, SHIPPING_CENTS
from utils.domain.order import ORDER_ID, PricedItem, QueuedOrder
from utils.observe.logging import get_logger
from utils.rpc.errors import DeadlineExceeded, NotFound, ResourceExhausted, ServiceError, Unavailable
from utils.rpc.transport import backoff_s

log = get_logger()

# One try of a call to the queue, which finds a new leader by itself within this time.
_TRY_S: Final = 3.0
# A service that verifies may only be restarting: how far apart an order is brought to it again.
_VERIFY_AGAIN_S: Final = 0.5
# A rejection that has no key is told even if the queue cannot keep it: nobody can ask for the same order again.
_COURTESY_S: Final = 1.0
# One long poll; the server may die during it, so it is not the whole wait.
_POLL_S: Final = 5.0
_TRANSIENT: Final = (Unavailable, DeadlineExceeded)

Sleep = Callable[[float], object]


class Verifier(Protocol):
    def verify(self, order: PricedCheckout, *, timeout_s: float) -> Verdict:
        """Raises ComponentUnavailable."""


class Prices(Protocol):
    def price_cents(self, title: str) -> int | None:
        """None for a book that is not for sale. Raises ComponentUnavailable."""


@dataclass(frozen=True)
class Limits:
    """Times count from the receipt of a request."""

    # Until an accepted order's end is no longer waited for.
    wait_s: float = 25.0
    # Until the queue must have confirmed the order.
    accept_s: float = 20.0
    # Requests that wait for an order's end. One more is told at once that its order is pending.
    waiting_max: int = 192


@dataclass(frozen=True)
class Ticket:
    """One request for an order."""

    order_id: str
    # Whether the request can be repeated.
    keyed: bool
    accept_by: Deadline
    wait_until: Deadline


class Checkout:
    """Thread-safe: every request runs in its own thread."""

    def __init__(
        self,
        *,
        identities: Identities,
        prices: Prices,
        verifier: Verifier,
        queue: OrderQueue,
        limits: Limits | None = None,
        latest: LatestEnd | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        self._identities = identities
        self._prices = prices
        self._verifier = verifier
        self._queue = queue
        self._limits = limits or Limits()
        self._latest = latest or LatestEnd()
        self._sleep = sleep or threading.Event().wait
        self._flights = SingleFlight()
        self._waiting = threading.BoundedSemaphore(self._limits.waiting_max)

    def begin(self, idempotency_key: str | None) -> Ticket:
        """A request is received. Raises KeyInvalid."""
        return Ticket(
            order_id=self._identities.order_id(idempotency_key),
            keyed=idempotency_key is not None,
            accept_by=Deadline(self._limits.accept_s, self._latest),
            wait_until=Deadline(self._limits.wait_s, self._latest),
        )

    def accept(self, ticket: Ticket, body: Mapping[str, Any]) -> OrderRecord:
        """The order as the queue's log has it: accepted now or before, or rejected.

        Raises Problem: RequestInvalid, KeyReused; ComponentUnavailable, QueueFull (nothing was ordered);
        OrderUnconfirmed (that is not known).
        """
        request = parse_checkout(body)
        fingerprint = self._identities.fingerprint(body)
        log.info("request received", order_id=ticket.order_id, items=len(request.items), keyed=ticket.keyed)
        if not ticket.keyed:
            return self._run(ticket, request, fingerprint)

        def accept_once() -> OrderRecord:
            if (earlier := self._earlier(ticket)) is not None:
                log.info("the order is known", order_id=ticket.order_id, state=earlier.state)
                return _same_body(earlier, fingerprint)
            return self._run(ticket, request, fingerprint)

        return self._flights.run(ticket.order_id, fingerprint, accept_once, timeout_s=ticket.accept_by.remaining_s())

    def end_of(self, ticket: Ticket, record: OrderRecord) -> OrderRecord:
        """The order at its end, or still pending when that does not come in time."""
        return self._wait_for_end(ticket.wait_until, record)

    def _wait_for_end(self, deadline: Deadline, record: OrderRecord) -> OrderRecord:
        if record.state is not OrderState.PENDING or not self._waiting.acquire(blocking=False):
            return record
        try:
            return self._poll(deadline, record)
        finally:
            self._waiting.release()

    def _poll(self, deadline: Deadline, record: OrderRecord) -> OrderRecord:
        attempt = 0
        while record.state is OrderState.PENDING and (remaining_s := deadline.remaining_s()) > 0:
            wait_s = min(_POLL_S, remaining_s)
            try:
                record = self._queue.get_order(record.order_id, wait_s=wait_s, timeout_s=wait_s + 1.0)
                attempt = 0
            except NotFound:
                log.exception("the queue does not know an order that it has accepted", order_id=record.order_id)
                return record
            except _TRANSIENT as error:
                attempt += 1
                log.warning("an accepted order cannot be asked for", order_id=record.order_id, error=error.message)
                self._sleep(min(backoff_s(attempt), deadline.remaining_s()))
        return record

    def order(self, order_id: str, *, wait_s: float) -> OrderRecord:
        """The order now, or at its end if that comes within `wait_s`. Raises OrderNotFound, ComponentUnavailable."""
        if not ORDER_ID.fullmatch(order_id):
            raise OrderNotFound("No order has such an id.")
        try:
            record = self._queue.get_order(order_id, wait_s=0, timeout_s=_TRY_S)
        except NotFound:
            raise OrderNotFound("There is no order with this id.") from None
        except _TRANSIENT as error:
            raise ComponentUnavailable("The order cannot be asked for just now. Please try again.") from error
        return self._wait_for_end(Deadline(wait_s, self._latest), record) if wait_s > 0 else record

    def _earlier(self, ticket: Ticket) -> OrderRecord | None:
        try:
            return self._queue.get_order(ticket.order_id, wait_s=0, timeout_s=ticket.accept_by.remaining_s(_TRY_S))
        except NotFound:
            return None
        except _TRANSIENT as error:
            raise ComponentUnavailable("Orders cannot be taken just now. Please try again.") from error

    def _run(self, ticket: Ticket, request: CheckoutRequest, fingerprint: bytes) -> OrderRecord:
        order_id = ticket.order_id
        priced = self._price(order_id, request)
        verdict = self._verify(ticket, priced)
        if verdict.reasons:
            log.info("rejected", order_id=order_id, reasons=[reason.code for reason in verdict.reasons])
            return self._reject(ticket, fingerprint, verdict)
        record = self._enqueue(_accepted(priced, verdict), fingerprint, verdict.story, ticket.accept_by)
        log.info("accepted", order_id=order_id, amount_cents=priced.amount_cents, clock=verdict.clock.entries)
        return _same_body(record, fingerprint)

    def _verify(self, ticket: Ticket, priced: PricedCheckout) -> Verdict:
        """Each try is a run of its own, so that what is left of the one before changes nothing."""
        while True:
            try:
                return self._verifier.verify(priced, timeout_s=ticket.accept_by.remaining_s())
            except ComponentUnavailable:
                # What is left must suffice for the queue.
                if ticket.accept_by.remaining_s() <= _VERIFY_AGAIN_S + _TRY_S:
                    raise
                self._sleep(_VERIFY_AGAIN_S)

    def _price(self, order_id: str, request: CheckoutRequest) -> PricedCheckout:
        prices = {item.title: self._prices.price_cents(item.title) for item in request.items}
        items = tuple(
            PricedItem(item.title, item.quantity, price)
            for item in request.items
            if (price := prices[item.title]) is not None
        )
        shipping_cents = SHIPPING_CENTS[request.shipping_method]
        amount_cents = sum(item.quantity * item.unit_price_cents for item in items) + shipping_cents
        if amount_cents > AMOUNT_CENTS_MAX:
            raise RequestInvalid("The order comes to more than can be paid at once.")
        return PricedCheckout(
            order_id=order_id,
            request=request,
            items=items,
            unknown_titles=tuple(title for title, price in prices.items() if price is None),
            shipping_cents=shipping_cents,
            amount_cents=amount_cents,
            customer_hash=self._identities.customer_hash(request.customer.contact),
        )

    def _enqueue(self, order: QueuedOrder, fingerprint: bytes, story: Story, deadline: Deadline) -> OrderRecord:
        """Sent again until its outcome is known: the queue recognises the order by its id."""
        attempt = 0
        while (remaining_s := deadline.remaining_s(_TRY_S)) > 0:
            try:
                return self._queue.enqueue(order, fingerprint, story, timeout_s=remaining_s)
            except ResourceExhausted as error:
                if attempt == 0:
                    raise QueueFull(
                        "There are more orders than we can take; this one was not. Please try again later."
                    ) from error
                failure: ServiceError = error
            except _TRANSIENT as error:
                failure = error
            attempt += 1
            log.warning("whether the order was accepted is not known", order_id=order.order_id, error=failure.message)
            self._sleep(min(backoff_s(attempt), deadline.remaining_s()))
        raise OrderUnconfirmed(
            "We do not know yet whether your order was accepted. Please look at its state, or repeat the request with "
            "the same Idempotency-Key, before you order again.",
            order_id=order.order_id,
        )

    def _reject(self, ticket: Ticket, fingerprint: bytes, verdict: Verdict) -> OrderRecord:
        """Whoever repeats the request must hear the same: with a key, nothing is told before the queue has it."""
        timeout_s = ticket.accept_by.remaining_s(_TRY_S if ticket.keyed else _COURTESY_S)
        try:
            record = self._queue.record_rejection(
                ticket.order_id, fingerprint, verdict.reasons, verdict.risk_score, verdict.story, timeout_s=timeout_s
            )
        except (*_TRANSIENT, ResourceExhausted) as error:
            log.warning("a rejection could not be kept", order_id=ticket.order_id, error=error.message)
            if ticket.keyed:
                raise ComponentUnavailable("Orders cannot be taken just now. Please try again.") from error
            return OrderRecord(
                ticket.order_id,
                OrderState.REJECTED,
                fingerprint=fingerprint,
                reasons=verdict.reasons,
                risk_score=verdict.risk_score,
            )
        return _same_body(record, fingerprint)


def _same_body(record: OrderRecord, fingerprint: bytes) -> OrderRecord:
    if record.fingerprint != fingerprint:
        raise KeyReused("This Idempotency-Key belongs to another order; take a new one.")
    return record


def _accepted(priced: PricedCheckout, verdict: Verdict) -> QueuedOrder:
    assert not priced.unknown_titles, "verification passed an order for a book that is not for sale"
    assert priced.items, "verification passed an order without items"
    assert verdict.instrument is not None, "verification passed an order without a means of payment"
    return QueuedOrder(
        order_id=priced.order_id,
        items=priced.items,
        shipping_cents=priced.shipping_cents,
        amount_cents=priced.amount_cents,
        instrument=verdict.instrument,
        suggested_books=verdict.books,
        risk_score=verdict.risk_score,
        discount_code=priced.request.discount_code,
        clock=verdict.clock.entries,
        accepted_at_ms=time.time_ns() // 1_000_000,
        customer_hash=priced.customer_hash,
    )
