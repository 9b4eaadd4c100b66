"""Keys, each with a typed value and a version; and the copies of each book that undecided orders have reserved."""

from bisect import bisect_left, bisect_right, insort

import msgspec

from db_node.commands import Refusal, RefusalReason, StockLeft, Value, Written
from utils.db_client.keys import PRICE_PREFIX, STOCK_PREFIX, stock_key
from utils.domain.order import REASONS_MAX, Reason
from utils.two_phase_commit.messages import Attempt, VoteKind
from utils.two_phase_commit.participant import Verdict

KEYS_MAX = 100_000
# What a read can answer: a signed 64-bit integer.
COPIES_MAX = 2**63 - 1


class Entry(msgspec.Struct, frozen=True):
    """What a read says of a key. `reserved` copies are part of the stock."""

    key: str
    value: Value
    version: int
    reserved: int = 0


class Stored(msgspec.Struct, frozen=True):
    value: Value
    # Grows by one with each committed write; 1 after the first.
    version: int


class Keyspace:
    """Always: 0 <= reserved <= stock, for every book. As a participant's business it holds copies by title."""

    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._keys: list[str] = []
        self._reserved: dict[str, int] = {}

    @property
    def stored(self) -> dict[str, Stored]:
        """By key; not to be changed from outside."""
        return self._stored

    def restore(self, stored: dict[str, Stored], held: list[dict[str, int]]) -> None:
        """Replaces everything; `held` is what each undecided order holds."""
        self._stored = stored
        self._keys = sorted(stored)
        self._reserved = {}
        for quantities in held:
            self._reserve(quantities)

    def get(self, key: str) -> Entry | None:
        """None for a key that was never written."""
        stored = self._stored.get(key)
        if stored is None:
            return None
        return Entry(key, stored.value, stored.version, self._reserved.get(key, 0))

    def scan(self, prefix: str, after_key: str, entries_max: int) -> tuple[list[Entry], bool]:
        """Up to `entries_max` entries after `after_key`, in the order of the keys; and whether there are more."""
        start = bisect_left(self._keys, prefix) if after_key < prefix else bisect_right(self._keys, after_key)
        page: list[Entry] = []
        for key in self._keys[start : start + entries_max + 1]:
            if not key.startswith(prefix):
                break
            entry = self.get(key)
            assert entry is not None
            page.append(entry)
        return page[:entries_max], len(page) > entries_max

    def write(self, key: str, value: Value, expected_version: int | None) -> Written | Refusal:
        stored = self._stored.get(key)
        version = stored.version if stored else 0
        if expected_version is not None and expected_version != version:
            return Refusal(RefusalReason.VERSION_CONFLICT, f"{key} has version {version}, not {expected_version}")
        if refusal := self._refuse_value(key, value, stored):
            return refusal
        return self._put(key, value)

    def decrement(self, title: str, quantity: int) -> StockLeft | Refusal:
        key = stock_key(title)
        entry = self.get(key)
        if entry is None:
            return Refusal(RefusalReason.KEY_UNKNOWN, f"{key} was never written")
        assert isinstance(entry.value, int)
        free = entry.value - entry.reserved
        if quantity > free:
            return Refusal(RefusalReason.TOO_FEW_COPIES, f"{free} copies of {title} are free, not {quantity}")
        left = entry.value - quantity
        return StockLeft(left, self._put(key, left).version)

    def restock(self, quantities: dict[str, int]) -> Refusal | None:
        """Puts copies back on the shelf, by title: all of them, or none."""
        for title, quantity in quantities.items():
            entry = self.get(stock_key(title))
            if entry is None:
                return Refusal(RefusalReason.KEY_UNKNOWN, f"{stock_key(title)} was never written")
            assert isinstance(entry.value, int)
            if entry.value + quantity > COPIES_MAX:
                message = f"{entry.value} copies of {title} and {quantity} more are beyond {COPIES_MAX}"
                return Refusal(RefusalReason.TOO_MANY_COPIES, message)
        for title, quantity in quantities.items():
            stored = self._stored[stock_key(title)]
            assert isinstance(stored.value, int)
            self._put(stock_key(title), stored.value + quantity)
        return None

    def seed(self, integers: dict[str, int]) -> None:
        for key, value in integers.items():
            if key not in self._stored:
                self._put(key, value)

    def hold(self, attempt: Attempt, work: dict[str, int]) -> Verdict:
        """No, if the copies are missing even when every undecided order gives its own back; else busy if some are."""
        reasons: list[Reason] = []
        busy = False
        for title, quantity in work.items():
            entry = self.get(stock_key(title))
            if entry is None:
                reasons.append(Reason("book_unknown", f"We do not have a book called “{title}”."))
                continue
            assert isinstance(entry.value, int)
            if quantity > entry.value:
                reasons.append(
                    Reason("out_of_stock", f"Only {entry.value} of {quantity} copies of “{title}” are left.")
                )
            busy = busy or quantity > entry.value - entry.reserved
        if reasons:
            return Verdict(VoteKind.ABORT, tuple(reasons[:REASONS_MAX]))
        if busy:
            return Verdict(VoteKind.BUSY)
        self._reserve(work)
        return Verdict(VoteKind.COMMIT)

    def commit(self, attempt: Attempt, work: dict[str, int]) -> str:
        self.release(attempt, work)
        for title, quantity in work.items():
            taken = self.decrement(title, quantity)
            assert isinstance(taken, StockLeft), taken
        return ""

    def release(self, attempt: Attempt, work: dict[str, int]) -> None:
        for title, quantity in work.items():
            key = stock_key(title)
            left = self._reserved[key] - quantity
            assert left >= 0, (key, left)
            if left:
                self._reserved[key] = left
            else:
                del self._reserved[key]

    def _reserve(self, quantities: dict[str, int]) -> None:
        for title, quantity in quantities.items():
            key = stock_key(title)
            self._reserved[key] = self._reserved.get(key, 0) + quantity

    def _refuse_value(self, key: str, value: Value, stored: Stored | None) -> Refusal | None:
        if key.startswith((STOCK_PREFIX, PRICE_PREFIX)) and (not isinstance(value, int) or value < 0):
            return Refusal(RefusalReason.WRONG_VALUE, f"{key} holds a whole number of at least 0")
        if stored is not None and type(stored.value) is not type(value):
            return Refusal(RefusalReason.WRONG_VALUE, f"{key} holds a value of another type")
        if stored is None and len(self._stored) >= KEYS_MAX:
            return Refusal(RefusalReason.FULL, f"there are {KEYS_MAX} keys already")
        reserved = self._reserved.get(key, 0)
        if isinstance(value, int) and value < reserved:
            return Refusal(RefusalReason.TOO_FEW_COPIES, f"{reserved} copies of {key} are reserved, more than {value}")
        return None

    def _put(self, key: str, value: Value) -> Written:
        stored = self._stored.get(key)
        if stored is None:
            insort(self._keys, key)
        version = stored.version + 1 if stored else 1
        self._stored[key] = Stored(value, version)
        return Written(version)
