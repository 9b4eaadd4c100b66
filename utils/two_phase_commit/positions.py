"""Which orders are finished, by their positions in the queue's log: so that what is kept of them can be dropped."""

import heapq
from collections.abc import Iterable


class Positions:
    """Order ids by position, taken out from the lowest on: O(log n) for each."""

    def __init__(self, orders: Iterable[tuple[int, str]] = ()) -> None:
        """`orders`: positions and order ids."""
        self._heap = list(orders)
        heapq.heapify(self._heap)

    def add(self, position: int, order_id: str) -> None:
        heapq.heappush(self._heap, (position, order_id))

    def take_below(self, position: int) -> list[str]:
        """The order ids below `position`, which are in here no more."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] < position:
            taken.append(heapq.heappop(self._heap)[1])
        return taken
