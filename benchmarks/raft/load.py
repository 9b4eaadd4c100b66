"""A closed loop of commands, the same for every system that is compared, and what it measures."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec

COMMAND_BYTES = 100
_KEY_BYTES = 8
# So that a state, and a snapshot of it, has a size: a megabyte.
_KEYS = 10_000
# Below that there are no percentiles.
_COMMITS_MIN = 2


class Figures(msgspec.Struct, frozen=True):
    """What the proposers of one load saw."""

    commits_per_s: float
    p50_ms: float
    p99_ms: float


def key_of(command: bytes) -> bytes:
    """Each system keeps the newest command of each key."""
    return command[:_KEY_BYTES]


def commands() -> Iterator[bytes]:
    """Of 100 bytes each, for ever."""
    padding = bytes(COMMAND_BYTES - _KEY_BYTES)
    for number in itertools.count():
        yield (number % _KEYS).to_bytes(_KEY_BYTES) + padding


class Load:
    """Ends after so many seconds, or so many commands; what has begun by then still counts."""

    def __init__(self, *, seconds: float | None = None, count: int | None = None) -> None:
        self._started_at = time.perf_counter()
        self._ends_at = self._started_at + seconds if seconds is not None else float("inf")
        self._count = count
        self._commands = commands()
        self._begun = 0
        self._latencies_s: list[float] = []

    def begin(self) -> tuple[bytes, float] | None:
        """The next command and when it began; None when there are no more."""
        now = time.perf_counter()
        if now >= self._ends_at or self._begun == self._count:
            return None
        self._begun += 1
        return next(self._commands), now

    def end(self, began_at: float) -> None:
        """A command that began then is committed."""
        self._latencies_s.append(time.perf_counter() - began_at)

    def figures(self) -> Figures:
        """Raises TimeoutError if too little was committed to have any."""
        elapsed_s = time.perf_counter() - self._started_at
        if len(self._latencies_s) < _COMMITS_MIN:
            raise TimeoutError(f"{len(self._latencies_s)} commands were committed in {elapsed_s:.1f} s")
        percentiles_s = statistics.quantiles(self._latencies_s, n=100, method="inclusive")
        return Figures(
            commits_per_s=round(len(self._latencies_s) / elapsed_s, 1),
            p50_ms=round(percentiles_s[49] * 1_000, 2),
            p99_ms=round(percentiles_s[98] * 1_000, 2),
        )


async def drive(propose: Callable[[bytes], Awaitable[object]], in_flight: int, load: Load) -> None:
    """`in_flight` proposers, each of which waits for its command before it gives the next."""

    async def proposer() -> None:
        while (begun := load.begin()) is not None:
            command, began_at = begun
            await propose(command)
            load.end(began_at)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(proposer())
