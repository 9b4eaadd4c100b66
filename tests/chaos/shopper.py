"""A client that orders until it is told to stop, and never lets go of an order before it knows what became of it."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.history import Exchange, Purchase, Recorder, Route
from tests.chaos.shelf import Shelf
from tests.chaos.shop_door import ShopDoor

# Above what the shop lets a client wait (25 s).
PATIENCE_S = 35.0
IMPATIENCE_S = (0.02, 1.0)
LOOK_WAIT_S = 5
THINK_S = (0.0, 0.3)
RETRY_S = (0.1, 0.5)
# Orders that a client of the asynchronous interface has under way at once.
BASKETS_MAX = 3

IMPATIENT_SHARE = 0.1
CONCURRENT_SHARE = 0.08
ASK_AGAIN_SHARE = 0.15
GIVE_UP_SHARE = 0.2


class Shopper:
    """Orders in a thread of its own, until `closing` is set."""

    def __init__(self, seed: int, shelf: Shelf, door: ShopDoor, recorder: Recorder, closing: threading.Event) -> None:
        self._random = random.Random(seed)
        self._shelf = shelf
        self._door = door
        self._recorder = recorder
        self._closing = closing
        self._abandon = threading.Event()
        # Its second voice, for a retry while the first request is under way.
        self._echo = ThreadPoolExecutor(1)
        self._thread = threading.Thread(target=self._run, name=f"shopper {seed}")
        # A defect of this program; whoever joins hears of it.
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Lets it finish what it has begun; what has no answer after `timeout_s` is abandoned. Raises its failure."""
        self._thread.join(timeout_s)
        self._abandon.set()
        self._thread.join()
        self._echo.shutdown()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._closing.wait(self._random.uniform(*THINK_S)):
                if self._random.random() < 0.5:
                    self._buy_and_wait()
                else:
                    self._order_and_look()
        except BaseException as error:  # noqa: BLE001
            self._failure = error

    def _buy_and_wait(self) -> None:
        purchase = self._new_purchase()
        if kept := self._until_kept(purchase, Route.CHECKOUT):
            self._see_it_through(purchase, kept)

    def _order_and_look(self) -> None:
        purchases = [self._new_purchase() for _ in range(self._random.randint(1, BASKETS_MAX))]
        answers = [(purchase, self._until_kept(purchase, Route.CHECKOUT_V2)) for purchase in purchases]
        for purchase, kept in answers:
            if kept is not None:
                self._see_it_through(purchase, kept)

    def _new_purchase(self) -> Purchase:
        purchase = self._shelf.purchase(self._random)
        self._recorder.began(purchase)
        return purchase

    def _until_kept(self, purchase: Purchase, route: Route) -> Exchange | None:
        """Repeats the request until an answer says that the order is kept.

        None when it gives up, which it may only while each answer has said that nothing was ordered; and when an
        answer makes no sense, or it is abandoned.
        """
        answers: list[Exchange] = []
        while not self._abandon.is_set():
            answers += self._ask(purchase, route)
            if kept := next((answer for answer in answers if answer.accepted), None):
                return kept
            if any(answer.http_status not in (0, 503) for answer in answers):
                return None
            if all(answer.nothing_ordered for answer in answers) and self._random.random() < GIVE_UP_SHARE:
                return None
            self._abandon.wait(self._random.uniform(*RETRY_S))
        return None

    def _ask(self, purchase: Purchase, route: Route) -> list[Exchange]:
        chance = self._random.random()
        if chance < IMPATIENT_SHARE:
            # Breaks off, so that the outcome is not known; the caller asks again.
            return [self._door.order(purchase, route, self._random.uniform(*IMPATIENCE_S))]
        if chance < IMPATIENT_SHARE + CONCURRENT_SHARE:
            other = Route.CHECKOUT if route is Route.CHECKOUT_V2 else Route.CHECKOUT_V2
            echo = self._echo.submit(self._door.order, purchase, other, PATIENCE_S)
            return [self._door.order(purchase, route, PATIENCE_S), echo.result()]
        return [self._door.order(purchase, route, PATIENCE_S)]

    def _see_it_through(self, purchase: Purchase, answer: Exchange) -> None:
        order_id = answer.order_id
        while not answer.end and not self._abandon.is_set():
            answer = self._door.look(purchase.key, order_id, wait_s=LOOK_WAIT_S, timeout_s=PATIENCE_S)
            if answer.http_status == 404:
                return
            if answer.http_status != 200:
                self._abandon.wait(self._random.uniform(*RETRY_S))
        if "out_of_stock" in answer.reason_codes:
            self._shelf.disappointed()
        if self._random.random() < ASK_AGAIN_SHARE:
            self._door.order(purchase, self._random.choice((Route.CHECKOUT, Route.CHECKOUT_V2)), PATIENCE_S)
            self._door.look(purchase.key, order_id, wait_s=0, timeout_s=PATIENCE_S)
