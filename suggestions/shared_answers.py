"""Answers that several ask for: each question is asked once, and a bounded number of answers is kept for a while."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True)
class _Entry(Generic[_V]):
    task: "asyncio.Task[_V]"
    expires_at: float


class SharedAnswers(Generic[_K, _V]):
    """Belongs to one event loop. The entry that was used least recently leaves first."""

    def __init__(
        self,
        ask: Callable[[_K], Coroutine[Any, Any, _V]],
        *,
        entries_max: int,
        age_s_max: float = math.inf,
        keep: Callable[[_V], bool] = lambda _: True,
    ) -> None:
        """`keep` says of an answer whether it is worth keeping; a failure never is."""
        self._ask = ask
        self._entries_max = entries_max
        self._age_s_max = age_s_max
        self._keep = keep
        self._entries: OrderedDict[_K, _Entry[_V]] = OrderedDict()

    async def get(self, key: _K) -> _V:
        """The kept answer, or that of one question for all who have it now. Raises what the question does."""
        now = asyncio.get_running_loop().time()
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= now:
            entry = self._entries[key] = _Entry(asyncio.create_task(self._ask(key)), now + self._age_s_max)
            entry.task.add_done_callback(lambda task: self._ended(key, task))
            if len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        if key in self._entries:
            self._entries.move_to_end(key)
        # Shielded: somebody who leaves does not end the question of the others.
        return await asyncio.shield(entry.task)

    def has(self, key: _K) -> bool:
        """Whether `get` need not ask."""
        entry = self._entries.get(key)
        return entry is not None and entry.expires_at > asyncio.get_running_loop().time()

    def clear(self) -> None:
        """What is asked from now on is asked anew."""
        self._entries.clear()

    def _ended(self, key: _K, task: "asyncio.Task[_V]") -> None:
        # Reading the exception also says that somebody who left need not be told of it.
        failed = task.cancelled() or task.exception() is not None
        if (failed or not self._keep(task.result())) and (entry := self._entries.get(key)) and entry.task is task:
            del self._entries[key]
