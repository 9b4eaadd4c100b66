"""When a leader lets another one lead: after so many orders, unless slow ones stand in the way."""

from collections.abc import Iterable

from utils.config import ConfigError


def rotate_after(setting: str) -> int | None:
    """Of LEADERSHIP_ROTATION: `never` (None) or `every:<n>` orders, n from 1. Raises ConfigError."""
    kind, separator, count = setting.partition(":")
    if setting == "never":
        return None
    if kind != "every" or not separator or not count.isascii() or not count.isdigit() or int(count) < 1:
        raise ConfigError(f"LEADERSHIP_ROTATION must be never or every:<n>, n at least 1, not {setting!r}")
    return int(count)


class Rotation:
    """Counts the orders of one epoch.

    An order that is not over when leadership should be handed on puts it off until that order has ended: a new leader
    would start it from the beginning, again and again.
    """

    def __init__(self, after: int | None) -> None:
        self._after = after
        self._taken = 0
        self._slow: frozenset[str] = frozenset()

    def is_due(self, held: Iterable[str]) -> bool:
        """`held`: the ids of the orders in hand."""
        return self._after is not None and self._taken >= self._after and self._slow.isdisjoint(held)

    def room(self, free: int) -> int:
        """Of `free` places for orders, those that may be taken before the next rotation; at least one."""
        if self._after is None or self._taken >= self._after:
            return free
        return min(free, self._after - self._taken)

    def took(self, orders: int) -> None:
        self._taken += orders

    def tried(self, held: Iterable[str]) -> None:
        """Leadership was not handed on; `held` orders were in the way, or nobody was there to take it."""
        self._taken = 0
        self._slow = frozenset(held)
