"""Clients of one object, each of which waits for an answer before it asks again, and what they record."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.linearizability.history import History
from utils.rpc.errors import DeadlineExceeded, Unavailable

# Shorter than a fault: some operations stay without an answer for ever.
CALL_TIMEOUT_S = 1.0
_THINKING_S = (0.01, 0.04)


class Recorder:
    """The operations of one object, at most so many, so that they can be checked in the end."""

    def __init__(self, operations_max: int, choice: random.Random) -> None:
        self.history = History()
        self.choice = choice
        self._operations_max = operations_max
        self._is_over = False

    @property
    def is_over(self) -> bool:
        return self._is_over or len(self.history.operations) >= self._operations_max

    def end(self) -> None:
        self._is_over = True

    async def think(self) -> None:
        await asyncio.sleep(self.choice.uniform(*_THINKING_S))

    async def perform(self, client: str, call: Any, ask: Callable[[Any], Awaitable[Any]]) -> tuple[bool, Any]:
        """Whether an answer came, and what it is."""
        called_at = self.history.call()
        try:
            result = await ask(call)
        except (Unavailable, DeadlineExceeded):
            self.history.unanswered(client, call, called_at)
            return False, None
        self.history.answered(client, call, called_at, result)
        return True, result
