"""How often the same customer or card came lately, in bounded memory. Pure: the caller brings keys and time.

A sliding window made of two: the count of this window, and of the one before it in proportion to what still overlaps.
That is three numbers a key, however often it comes.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Counts:
    window: int
    before: int
    now: int


class VelocityWindow:
    """Counts keys, which are keyed hashes: nothing here can be turned back into a card."""

    def __init__(self, window_s: float, keys_max: int) -> None:
        self._window_s = window_s
        self._keys_max = keys_max
        self._counts: OrderedDict[bytes, _Counts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def observe(self, key: bytes, now_s: float) -> int:
        """Counts `key` at `now_s`, a time that never runs backwards; about how often it came within the window."""
        window, position = divmod(now_s, self._window_s)
        counts = self._counts.pop(key, _Counts(int(window), 0, 0))
        if counts.window == int(window):
            counts = _Counts(counts.window, counts.before, counts.now + 1)
        else:
            before = counts.now if counts.window == int(window) - 1 else 0
            counts = _Counts(int(window), before, 1)
        self._counts[key] = counts
        if len(self._counts) > self._keys_max:
            self._counts.popitem(last=False)
        return counts.now + int(counts.before * (1 - position / self._window_s))
