"""How much time a request has left."""

import time


class Deadline:
    """A moment of the monotonic clock, given as seconds from now."""

    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    def remaining_s(self, at_most: float | None = None) -> float:
        """Never below zero; with `at_most`, not more than that."""
        remaining = max(0.0, self._at - time.monotonic())
        return remaining if at_most is None else min(remaining, at_most)
