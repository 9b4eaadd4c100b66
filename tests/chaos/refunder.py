"""An operator of the shop, who refunds an approved order now and then, and asks until the refund is done."""

import random
import threading
from collections.abc import Callable

from tests.chaos.history import APPROVED, Recorder
from tests.chaos.shelf import PLENTIFUL
from utils.rpc.errors import ServiceError

THINK_S = (0.2, 1.5)
RETRY_S = (0.1, 0.5)
ASK_AGAIN_SHARE = 0.3
RESTOCK_SHARE = 0.6

# An order's id, and whether its copies return to the shelf: the refund's code, "" if it is not done yet. Raises
# ServiceError, or RuntimeError while everything is being started again.
Ask = Callable[[str, bool], str]


class Refunder:
    """Asks in a thread of its own, until `closing` is set."""

    def __init__(self, seed: int, ask: Ask, recorder: Recorder, closing: threading.Event) -> None:
        self._random = random.Random(seed)
        self._ask = ask
        self._recorder = recorder
        self._closing = closing
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refunder")
        # A defect of this program; whoever joins hears of it.
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Lets it finish what it has begun; what is not done after `timeout_s` is abandoned. Raises its failure."""
        self._thread.join(timeout_s)
        self._abandon.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        looked_at = 0
        approved: dict[str, str] = {}
        try:
            while not self._closing.wait(self._random.uniform(*THINK_S)):
                news = self._recorder.seen_since(looked_at)
                looked_at += len(news)
                approved |= {exchange.order_id: exchange.key for exchange in news if exchange.end == APPROVED}
                if waiting := sorted(approved.keys() - self._recorder.history.refunds.keys()):
                    order_id = self._random.choice(waiting)
                    self._refund(order_id, approved[order_id])
        except BaseException as error:  # noqa: BLE001
            self._failure = error

    def _refund(self, order_id: str, key: str) -> None:
        # Who was refused an edition must find it gone at the end: none of those comes back.
        may_return = self._recorder.history.purchases[key].items.keys() <= set(PLENTIFUL)
        restock = may_return and self._random.random() < RESTOCK_SHARE
        self._recorder.refund_asked(order_id, restock=restock)
        code = ""
        while not code and not self._abandon.is_set():
            code = self._asked(order_id, restock)
        if code and self._random.random() < ASK_AGAIN_SHARE:
            # With another wish for the copies, which must not count.
            self._asked(order_id, not restock)

    def _asked(self, order_id: str, restock: bool) -> str:
        try:
            code = self._ask(order_id, restock)
        except (ServiceError, RuntimeError):
            code = ""
        if code:
            self._recorder.refund_told(order_id, code)
        else:
            self._abandon.wait(self._random.uniform(*RETRY_S))
        return code
