"""The waiting orders by priority: a binary heap behind a lock."""

import heapq
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any

# How many removed entries may lie in the heap beyond the number of the living, before they are swept out.
_SLACK = 64


class OrderHeap:
    """Most books first; ties by position, the earliest arrival first. Safe to use from several threads.

    With `ageing`, so many positions outweigh one book: an order that waits overtakes larger ones that came that much
    later. All age alike, so that their order among themselves never changes, and the heap stays one.

    The lock is given (a `threading.Lock`), so that the machine around the heap stays free of threads. A removed order
    leaves the heap when it comes to the top, or when the removed outnumber the living: amortised O(log n).
    """

    def __init__(self, lock: AbstractContextManager[Any], *, ageing: int = 0) -> None:
        self._lock = lock
        self._ageing = ageing
        self._heap: list[tuple[int, int, str]] = []
        self._positions: dict[str, int] = {}

    def push(self, order_id: str, *, quantity: int, position: int) -> None:
        """Adds an order that is not in the heap."""
        with self._lock:
            assert order_id not in self._positions, f"order {order_id} is already in the heap"
            self._positions[order_id] = position
            rank = position - quantity * self._ageing if self._ageing else -quantity
            heapq.heappush(self._heap, (rank, position, order_id))

    def remove(self, order_id: str) -> None:
        """Takes an order out. Raises KeyError if it is not there."""
        with self._lock:
            del self._positions[order_id]
            if len(self._heap) > 2 * len(self._positions) + _SLACK:
                self._heap = [entry for entry in self._heap if self._lives(entry)]
                heapq.heapify(self._heap)

    def first(self, count: int, *, excluding: Collection[str] = ()) -> list[str]:
        """Up to `count` order ids in order of priority, without those excluded (a set). They stay in the heap."""
        chosen: list[str] = []
        with self._lock:
            popped: list[tuple[int, int, str]] = []
            while self._heap and len(chosen) < count:
                entry = heapq.heappop(self._heap)
                if not self._lives(entry):
                    continue
                popped.append(entry)
                if entry[2] not in excluding:
                    chosen.append(entry[2])
            for entry in popped:
                heapq.heappush(self._heap, entry)
        return chosen

    def ahead_of(self, order_id: str, *, excluding: Collection[str] = ()) -> int:
        """How many orders come before this one, without those excluded (a set). Raises KeyError if it is not there."""
        with self._lock:
            position = self._positions[order_id]
            own = next(entry for entry in self._heap if entry[1] == position)
            return sum(entry < own and entry[2] not in excluding and self._lives(entry) for entry in self._heap)

    def clear(self) -> None:
        with self._lock:
            self._heap.clear()
            self._positions.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._positions)

    def _lives(self, entry: tuple[int, int, str]) -> bool:
        return self._positions.get(entry[2]) == entry[1]
