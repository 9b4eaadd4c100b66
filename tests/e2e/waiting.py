"""Waiting for what must come true, from outside the system, where nobody tells us."""

import time
from collections.abc import Callable

TIMEOUT_S = 30.0
_POLL_S = 0.05


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Returns once `condition` is true. Raises AssertionError, naming `what`, when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(_POLL_S)
