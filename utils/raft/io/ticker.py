"""The clock of a node: a regular call, from the event loop's monotonic clock."""

import asyncio
from collections.abc import Callable


class Ticker:
    """A process that was stopped gets one tick when it goes on, not all that it has missed."""

    def __init__(self, interval_s: float, tick: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._tick = tick
        self._due_at = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._due_at = asyncio.get_running_loop().time()
        self._schedule()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_at += self._interval_s
        if self._due_at <= loop.time():
            self._due_at = loop.time() + self._interval_s
        self._handle = loop.call_at(self._due_at, self._fire)

    def _fire(self) -> None:
        self._schedule()
        self._tick()
