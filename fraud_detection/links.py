"""How many different cards one contact or one address has lately had, in bounded memory. Pure.

Not how often: one card used a thousand times is one link. Counts stop at `links_max`, which is more than anybody's.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True)
class Links:
    """How many are linked, this one included, and whether this one was not before."""

    count: int
    new: bool


class LinkWindow:
    """From one fingerprint to others; both are keyed hashes, cut to 64 bits: a chance meeting only adds to a count."""

    def __init__(self, window_s: float, keys_max: int, links_max: int) -> None:
        self._window_s = window_s
        self._keys_max = keys_max
        self._links_max = links_max
        # When each was last seen. An OrderedDict for the keys alone: a dict of few links is a third of the size.
        self._links: OrderedDict[int, dict[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._links)

    def observe(self, key: bytes, other: bytes, now_s: float) -> Links:
        """Links `other` to `key` at `now_s`, a time that never runs backwards; what is linked within the window."""
        number = _short(key)
        links = self._links.pop(number, {})
        # Seen again, it moves to the end: the first is always the longest unseen.
        seen_s = links.pop(_short(other), None)
        while links and (links[oldest := next(iter(links))] <= now_s - self._window_s or len(links) >= self._links_max):
            del links[oldest]
        links[_short(other)] = now_s
        self._links[number] = links
        if len(self._links) > self._keys_max:
            self._links.popitem(last=False)
        return Links(len(links), new=seen_s is None or seen_s <= now_s - self._window_s)


def _short(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint[:8], "big", signed=True)
