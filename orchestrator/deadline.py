"""How much time a request has left."""

import math
import time


class LatestEnd:
    """When every request must have ended: never, until the process is to stop."""

    def __init__(self) -> None:
        self.at = math.inf

    def move_to(self, timeout_s: float) -> None:
        """From now on; also for requests that have begun."""
        self.at = time.monotonic() + timeout_s


class Deadline:
    """A moment of the monotonic clock, given as seconds from now, and not after the latest end."""

    def __init__(self, timeout_s: float, latest: LatestEnd) -> None:
        self._at = time.monotonic() + timeout_s
        self._latest = latest

    def remaining_s(self, at_most: float | None = None) -> float:
        """Never below zero; with `at_most`, not more than that."""
        remaining = max(0.0, min(self._at, self._latest.at) - time.monotonic())
        return remaining if at_most is None else min(remaining, at_most)
