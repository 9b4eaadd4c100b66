"""How often the same customer or card came lately, in bounded memory. Pure: the caller brings keys and time.

A sliding window made of two: the count of this window, and of the one before it in proportion to what still overlaps.
That is four numbers a key, however often it comes.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """About how many `orders` within the window, this one included, and the time since the last; None for the first."""

    orders: int
    interval_s: float | None


@dataclass(frozen=True, slots=True)
class _Counts:
    window: int
    before: int
    now: int
    last_s: float


class VelocityWindow:
    """Counts keys, which are keyed hashes: nothing here can be turned back into a card."""

    def __init__(self, window_s: float, keys_max: int) -> None:
        self._window_s = window_s
        self._keys_max = keys_max
        self._counts: OrderedDict[bytes, _Counts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def observe(self, key: bytes, now_s: float) -> Pace:
        """Counts `key` at `now_s`, a time that never runs backwards."""
        number, position = divmod(now_s, self._window_s)
        window = int(number)
        counts = self._counts.pop(key, None)
        if counts is None:
            before, now = 0, 1
        elif counts.window == window:
            before, now = counts.before, counts.now + 1
        else:
            before, now = counts.now if counts.window == window - 1 else 0, 1
        self._counts[key] = _Counts(window, before, now, now_s)
        if len(self._counts) > self._keys_max:
            self._counts.popitem(last=False)
        interval_s = None if counts is None else now_s - counts.last_s
        return Pace(now + int(before * (1 - position / self._window_s)), interval_s)
