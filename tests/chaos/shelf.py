"""What is for sale in a chaos run: enough of some books, and limited editions that sell out under many buyers."""

import random
import threading
from dataclasses import dataclass, field

from tests.chaos.history import Means, Purchase
from tests.chaos.shop_door import SHIPPING_METHODS
from utils.catalogue import load_catalogue

PLENTIFUL_COPIES = 1_000_000
PLENTIFUL = ("Book A", "Harry Potter", "The Great Gatsby", "1984", "Pride and Prejudice")
EDITION_CENTS = 2500
EDITION_COPIES_MAX = 30
# Buyers go on to the next edition once so many have gone away without one.
DISAPPOINTED_MAX = 12


@dataclass
class Shelf:
    """Thread-safe. `editions`: how many limited ones there are, sold one after another; `seed`: of their copies."""

    editions: int
    seed: int
    _current: int = 0
    _disappointed: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _prices_cents: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        plentiful = {book.title: book.price_cents for book in load_catalogue() if book.title in PLENTIFUL}
        self._prices_cents = plentiful | {_edition(number): EDITION_CENTS for number in range(self.editions)}

    def copies(self) -> dict[str, int]:
        """Copies by title, from one copy to a few dozen of each edition."""
        random_source = random.Random(self.seed)
        copies = {_edition(number): random_source.randint(1, EDITION_COPIES_MAX) for number in range(self.editions)}
        return dict.fromkeys(PLENTIFUL, PLENTIFUL_COPIES) | copies

    def prices_cents(self) -> dict[str, int]:
        return self._prices_cents

    def purchase(self, random_source: random.Random) -> Purchase:
        """Any mixture: one book or several, limited or not, mostly paid by card."""
        items: dict[str, int] = {}
        if random_source.random() < 0.5:
            items[self._limited(random_source)] = random_source.choice((1, 1, 1, 2, 3))
            if random_source.random() < 0.3:
                items[self._limited(random_source)] = 1
        if not items or random_source.random() < 0.4:
            items |= {title: random_source.randint(1, 4) for title in random_source.sample(PLENTIFUL, 2)}
        prices = self._prices_cents
        shipping_cents = random_source.choice(list(SHIPPING_METHODS))
        means = random_source.choices((Means.CARD, Means.BANK_TRANSFER, Means.EXPIRED_CARD), (85, 11, 4))[0]
        return Purchase(
            key=f"{random_source.getrandbits(96):024x}",
            items=items,
            means=means,
            shipping_cents=shipping_cents,
            amount_cents=sum(prices[title] * quantity for title, quantity in items.items()) + shipping_cents,
        )

    def disappointed(self) -> None:
        """Somebody heard that a book is out of stock."""
        with self._guard:
            self._disappointed += 1
            if self._disappointed >= DISAPPOINTED_MAX:
                self._disappointed = 0
                self._current = min(self._current + 1, self.editions - 1)

    def _limited(self, random_source: random.Random) -> str:
        """The edition of the moment, or the one after it, for baskets that need both."""
        return _edition(min(self._current + (random_source.random() < 0.25), self.editions - 1))


def _edition(number: int) -> str:
    return f"Limited Edition {number:04}"
