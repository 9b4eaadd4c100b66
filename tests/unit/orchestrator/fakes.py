"""The rest of the system, in memory: for tests of the orchestrator's flow."""

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any

from orchestrator.ports import (
    Finding,
    FoundBooks,
    OrderRecord,
    OrderState,
    Outcome,
    PricedCheckout,
    RecommendedBooks,
    Run,
    Service,
    Snapshot,
    Stock,
)
from orchestrator.problems import OrderNotFound
from orchestrator.story import OrderStory
from utils.clocks.story import Story
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import Book, PaymentInstrument, PaymentMethod, QueuedOrder, Reason
from utils.rpc.errors import NotFound, ServiceError

CARD_NUMBER = "4111111111111111"
# Such as no id, clock or duration in a log holds by chance.
CVV = "cvv-737"
BOOK = Book("book-c", "Book C", "C. Author")
INSTRUMENT = PaymentInstrument(PaymentMethod.CARD, "visa", "1111")


def body(**changes: Any) -> dict[str, Any]:
    """What the best-known page posts, with `changes`."""
    return {
        "user": {"name": "Ada Lovelace", "contact": "ada@example.com"},
        "creditCard": {"number": CARD_NUMBER, "expirationDate": "12/34", "cvv": CVV},
        "items": [{"name": "Book A", "quantity": 1}, {"name": "Book B", "quantity": 2}],
        "billingAddress": {"street": "12 St", "city": "London", "state": "L", "zip": "SW1", "country": "UK"},
        "shippingMethod": "Express",
        "giftWrapping": True,
        "termsAccepted": True,
        **changes,
    }


def passed(service: Service) -> Finding:
    """What a service says of an order with which all is well."""
    clocks = {
        Service.TRANSACTION_VERIFICATION: {"transaction_verification": 3, "fraud_detection": 1},
        Service.FRAUD_DETECTION: {"transaction_verification": 3, "fraud_detection": 2},
        Service.SUGGESTIONS: {"transaction_verification": 3, "fraud_detection": 2, "suggestions": 1},
    }
    outcome = Outcome(VectorClock(clocks[service]))
    if service is Service.TRANSACTION_VERIFICATION:
        return Finding(outcome, instrument=INSTRUMENT)
    if service is Service.FRAUD_DETECTION:
        return Finding(outcome, risk_score=7)
    return Finding(outcome, books=(BOOK,))


def rejected(service: Service, *codes: str) -> Finding:
    """What a service says of an order that it rejects; without codes, that another service stopped it."""
    reasons = tuple(Reason(code, f"{code} in words.", "/items") for code in codes)
    return Finding(Outcome(VectorClock({str(service): 1}), reasons, stopped=True))


class Script:
    """How one service of the fake trio behaves in one run."""

    def __init__(self, answer: Finding | Exception | None = None, *, after_stop: Finding | None = None) -> None:
        # None: it never answers by itself.
        self.answer = answer
        # What it answers once it is told to stop.
        self.after_stop = after_stop


class FakeTrio:
    """Records what it is told; by default all is well with every order.

    A call whose script has an answer gets it once `hanging_first` others hang.
    """

    def __init__(self, *, hanging_first: int = 0, **scripts: Script) -> None:
        self._scripts = {service: scripts.get(str(service), Script(passed(service))) for service in Service}
        self.calls: dict[Service, Future[Finding]] = {}
        self.orders: list[PricedCheckout] = []
        self.runs: list[Run] = []
        self.stops: list[str] = []
        self.forgotten: list[tuple[VectorClock, set[Service]]] = []
        self._hanging_first = hanging_first
        self._hanging = 0
        self._changed = threading.Condition()

    def begin(self, service: Service, order: PricedCheckout, run: Run) -> "Future[Finding]":
        call: Future[Finding] = Future()
        script = self._scripts[service]
        with self._changed:
            self.calls[service] = call
            self.orders.append(order)
            self.runs.append(run)
            if script.answer is None:
                self._hanging += 1
                self._changed.notify_all()
            elif not self._changed.wait_for(lambda: self._hanging >= self._hanging_first, timeout=5):
                raise AssertionError(f"{self._hanging} calls hang, not {self._hanging_first}")
        if isinstance(script.answer, Finding):
            call.set_result(script.answer)
        elif script.answer is not None:
            call.set_exception(script.answer)
        return call

    def stop(self, run: Run, cause: str) -> None:
        self.stops.append(cause)
        for service, call in self.calls.items():
            if (after_stop := self._scripts[service].after_stop) is not None:
                call.set_result(after_stop)

    def forget(self, run: Run, final_clock: VectorClock, services: Collection[Service]) -> None:
        self.forgotten.append((final_clock, set(services)))


class FakeStories:
    """What is told of orders, by their ids."""

    def __init__(self) -> None:
        self.known: dict[str, OrderStory] = {}

    def story(self, order_id: str) -> OrderStory:
        if order_id not in self.known:
            raise OrderNotFound("There is no order with this id.")
        return self.known[order_id]


class FakeQueue:
    """The queue's log: the first of an order's records wins. `before` and `after` may fail a call, by its number."""

    def __init__(self) -> None:
        self.records: dict[str, OrderRecord] = {}
        self.stories: dict[str, Story] = {}
        self.calls: list[str] = []
        # Called with the method and how often it was called: raises what the call should fail with.
        self.before: Callable[[str, int], None] = lambda _method, _number: None
        self.after: Callable[[str, int], None] = lambda _method, _number: None

    def enqueue(self, order: QueuedOrder, fingerprint: bytes, story: Story, *, timeout_s: float) -> OrderRecord:
        self.stories[order.order_id] = story
        record = OrderRecord(
            order.order_id, OrderState.PENDING, fingerprint=fingerprint, order=order, risk_score=order.risk_score
        )
        return self._call("enqueue", lambda: self.records.setdefault(order.order_id, record))

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
        self.stories[order_id] = story
        record = OrderRecord(
            order_id, OrderState.REJECTED, fingerprint=fingerprint, reasons=reasons, risk_score=risk_score
        )
        return self._call("record_rejection", lambda: self.records.setdefault(order_id, record))

    def get_order(self, order_id: str, *, wait_s: float, timeout_s: float) -> OrderRecord:
        def find() -> OrderRecord:
            if order_id not in self.records:
                raise NotFound(f"order {order_id} is not known")
            if wait_s:
                self.on_wait(self.records[order_id])
            return self.records[order_id]

        return self._call("get_order", find)

    def on_wait(self, record: OrderRecord) -> None:
        """While somebody waits, the order is approved."""
        if record.state is OrderState.PENDING:
            self.end(record.order_id, OrderState.APPROVED, confirmation_code="OK-1")

    def end(self, order_id: str, state: OrderState, **fields: Any) -> None:
        """The order's result."""
        old = self.records[order_id]
        self.records[order_id] = OrderRecord(
            order_id, state, old.fingerprint, old.order, risk_score=old.risk_score, **fields
        )

    def _call(self, method: str, act: Callable[[], OrderRecord]) -> OrderRecord:
        self.calls.append(method)
        number = self.calls.count(method)
        self.before(method, number)
        record = act()
        self.after(method, number)
        return record


def fail_first(count: int, method: str, error: ServiceError) -> Callable[[str, int], None]:
    """For FakeQueue.before and .after: the first `count` calls of `method` fail."""

    def fail(called: str, number: int) -> None:
        if called == method and number <= count:
            raise error

    return fail


class FakeGuide:
    """Finds and recommends BOOK; `failure` is what every call fails with."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, int]] = []
        self.failure: ServiceError | None = None
        # Called while a question is being answered.
        self.meanwhile: Callable[[], object] = lambda: None

    def search(self, query: str, limit: int) -> FoundBooks:
        self._answer(query, limit)
        return FoundBooks((BOOK,), "semantic")

    def recommend(self, titles: Sequence[str], limit: int) -> RecommendedBooks:
        self._answer(list(titles), limit)
        return RecommendedBooks((BOOK,), "vectors")

    def _answer(self, question: object, limit: int) -> None:
        self.asked.append((question, limit))
        self.meanwhile()
        if self.failure is not None:
            raise self.failure


class FakePrices:
    def __init__(self, **prices_cents: int) -> None:
        self._prices_cents = prices_cents or {"Book A": 1000, "Book B": 250}

    def price_cents(self, title: str) -> int | None:
        return self._prices_cents.get(title)


class FakeDatabase:
    """Books with prices and stock; `failure` is what every call fails with."""

    def __init__(self, prices_cents: dict[str, int], stock: dict[str, Stock], stale_ms: int | None = 5) -> None:
        self.prices_cents = prices_cents
        self.stocks = stock
        self.stale_ms = stale_ms
        self.failure: ServiceError | None = None
        self.reads: list[str] = []

    def snapshot(self) -> Snapshot:
        self._read("snapshot")
        return Snapshot(dict(self.prices_cents), dict(self.stocks), self.stale_ms)

    def price_cents(self, title: str) -> int | None:
        self._read(f"price {title}")
        return self.prices_cents.get(title)

    def stock(self, title: str) -> Stock | None:
        self._read(f"stock {title}")
        return self.stocks.get(title)

    def _read(self, what: str) -> None:
        self.reads.append(what)
        if self.failure is not None:
            raise self.failure
