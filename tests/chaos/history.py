"""What the shop's clients saw: the only source of what a chaos run expects."""

import enum
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

PENDING = "PENDING"
APPROVED = "Order Approved"
REJECTED = "Order Rejected"
ENDS = (APPROVED, REJECTED)
REFUNDED = "Refunded"


class Means(enum.StrEnum):
    """How a purchase is paid. The run sets luck aside, so each has one outcome while there are copies."""

    CARD = "card"
    # Every bank transfer is declined.
    BANK_TRANSFER = "bank_transfer"
    # Verification refuses it.
    EXPIRED_CARD = "expired_card"


class Route(enum.StrEnum):
    CHECKOUT = "POST /checkout"
    CHECKOUT_V2 = "POST /v2/checkout"
    ORDER = "GET /v2/orders"


class Purchase(msgspec.Struct, frozen=True):
    """What a client wants; every request with its Idempotency-Key has the same body."""

    key: str
    items: dict[str, int]
    means: Means
    shipping_cents: int
    amount_cents: int


class Exchange(msgspec.Struct, frozen=True):
    """One request and what came back. Times in seconds since the run began."""

    key: str
    route: Route
    sent_at_s: float
    answered_at_s: float
    # 0: no answer came (refused, broken off, or the client's patience ended).
    http_status: int = 0
    error_code: str = ""
    order_id: str = ""
    # PENDING, Order Approved or Order Rejected; empty with an error.
    order_status: str = ""
    reason_codes: tuple[str, ...] = ()
    confirmation_code: str = ""
    amount_cents: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether it tells the client that the order is kept."""
        return bool(self.order_status) or self.error_code in ("order_pending", "order_rejected")

    @property
    def end(self) -> str:
        """The order's end as told here; empty when none is told."""
        if self.error_code == "order_rejected":
            return REJECTED
        return self.order_status if self.order_status in ENDS else ""

    @property
    def nothing_ordered(self) -> bool:
        """Whether it tells the client that this request ordered nothing."""
        return self.error_code in ("unavailable", "queue_full")


class Refund(msgspec.Struct):
    """What the operator asked for, of an order that a client was told is approved, and the codes that came back."""

    restock: bool
    codes: list[str] = []


class Disturbance(msgspec.Struct, frozen=True):
    """A fault as it was carried out. Its phase lasts until the next one begins."""

    what: str
    # Whether it takes one node of one of the three clusters and nothing else.
    one_node: bool
    from_s: float
    until_s: float


class History(msgspec.Struct):
    """The log of one run. `initial_stock`: copies by title as the clients found them."""

    initial_stock: dict[str, int]
    purchases: dict[str, Purchase] = {}
    exchanges: list[Exchange] = []
    disturbances: list[Disturbance] = []
    # By order id.
    refunds: dict[str, Refund] = {}
    # When every machine was there again; the clients knew of no fault after it.
    healed_at_s: float = 0.0

    def order_ids(self) -> set[str]:
        return {exchange.order_id for exchange in self.exchanges if exchange.order_id}

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))


class Recorder:
    """Writes a History from many threads."""

    def __init__(self, initial_stock: dict[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.history = History(initial_stock)
        self._clock = clock
        self._began_at = clock()
        self._guard = threading.Lock()
        self._saw_more = threading.Condition(self._guard)

    def now_s(self) -> float:
        """Since the run began."""
        return self._clock() - self._began_at

    def began(self, purchase: Purchase) -> None:
        with self._guard:
            assert purchase.key not in self.history.purchases
            self.history.purchases[purchase.key] = purchase

    def saw(self, exchange: Exchange) -> None:
        with self._guard:
            self.history.exchanges.append(exchange)
            self._saw_more.notify_all()

    def refund_asked(self, order_id: str, *, restock: bool) -> None:
        with self._guard:
            self.history.refunds[order_id] = Refund(restock)

    def refund_told(self, order_id: str, code: str) -> None:
        with self._guard:
            self.history.refunds[order_id].codes.append(code)

    def disturbed(self, disturbance: Disturbance) -> None:
        with self._guard:
            self.history.disturbances.append(disturbance)

    def counts(self) -> tuple[int, int]:
        """Purchases begun and exchanges seen so far."""
        with self._guard:
            return len(self.history.purchases), len(self.history.exchanges)

    def wait_for_ends(self, count: int, timeout_s: float) -> bool:
        """Until so many purchases have ended that begin from now on; False when they do not within `timeout_s`."""
        with self._guard:
            old = set(self.history.purchases)
            looked_at = len(self.history.exchanges)
            ended: set[str] = set()

            def enough() -> bool:
                nonlocal looked_at
                ended.update(
                    exchange.key
                    for exchange in self.history.exchanges[looked_at:]
                    if exchange.end and exchange.key not in old
                )
                looked_at = len(self.history.exchanges)
                return len(ended) >= count

            return self._saw_more.wait_for(enough, timeout_s)

    def seen_since(self, index: int) -> list[Exchange]:
        """Exchanges from the index-th on."""
        with self._guard:
            return self.history.exchanges[index:]
