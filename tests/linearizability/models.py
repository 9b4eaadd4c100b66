"""What the replicated register and the queue do when one client uses them at a time."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.linearizability.history import UNKNOWN, Operation

# A register: its value and version. A version grows by one with each write.
Register = tuple[str | None, int]


@dataclass(frozen=True)
class Read:
    """Result: (value, version); (None, 0) for what was never written."""


@dataclass(frozen=True)
class Write:
    """Result: the version."""

    value: str


@dataclass(frozen=True)
class WriteAt:
    """Only at that version. Result: the next version, or None if it was another."""

    value: str
    version: int


class RegisterModel:
    initial: Register = (None, 0)

    def step(self, state: Register, call: Read | Write | WriteAt, result: Any) -> Register | None:
        _, version = state
        match call:
            case Read():
                return state if result in (UNKNOWN, state) else None
            case WriteAt() if call.version != version:
                return state if result in (UNKNOWN, None) else None
            case Write() | WriteAt():
                return (call.value, version + 1) if result in (UNKNOWN, version + 1) else None


def without_unread_values(operations: Sequence[Operation]) -> list[Operation]:
    """Writes that nobody answered and whose values nobody read are alike: what they wrote does not matter."""
    read = {one.result[0] for one in operations if isinstance(one.call, Read) and one.returned_at is not None}
    return [
        dataclasses.replace(operation, call=dataclasses.replace(operation.call, value="not read"))
        if operation.returned_at is None
        and isinstance(operation.call, Write | WriteAt)
        and operation.call.value not in read
        else operation
        for operation in operations
    ]


@dataclass(frozen=True)
class Enqueue:
    """Result: the order's position. A second one changes nothing and tells the same."""

    order: int
    quantity: int


@dataclass(frozen=True)
class Dequeue:
    """Hands out the first orders but for those that are held. Result: the orders."""

    held: tuple[int, ...]
    orders_max: int


@dataclass(frozen=True)
class Complete:
    """Result: nothing."""

    order: int


@dataclass(frozen=True)
class GetOrder:
    """Result: "unknown", "pending" or "ended"."""

    order: int


@dataclass(frozen=True)
class Waiting:
    position: int
    order: int
    quantity: int


@dataclass(frozen=True)
class Queue:
    """`waiting`: in the order of arrival. `last_position`: positions grow with arrival."""

    waiting: tuple[Waiting, ...] = ()
    ended: frozenset[int] = frozenset()
    last_position: int = 0

    def find(self, order: int) -> Waiting | None:
        return next((one for one in self.waiting if one.order == order), None)


class QueueModel:
    """Priority: most books first, then arrival.

    An empty answer to Dequeue is always allowed: a poll whose leader changed is told to ask again, and says so by
    handing out nothing.
    """

    initial = Queue()

    def __init__(self, positions: dict[int, int]) -> None:
        """`positions`: of the orders that some answer has told. An Enqueue that none tells of has had no effect yet."""
        self._positions = positions
        in_order = [0, *sorted(positions.values())]
        self._position_before = dict(itertools.pairwise(in_order[::-1]))

    def step(self, state: Queue, call: Enqueue | Dequeue | Complete | GetOrder, result: Any) -> Queue | None:
        match call:
            case Enqueue(order):
                return self._enqueue(state, call) if result in (UNKNOWN, self._positions.get(order)) else None
            case Dequeue(held, orders_max):
                free = [one for one in state.waiting if one.order not in held]
                first = sorted(free, key=lambda one: (-one.quantity, one.position))[:orders_max]
                return state if result in (UNKNOWN, ()) or [one.order for one in first] == list(result) else None
            case Complete(order):
                left = tuple(one for one in state.waiting if one.order != order)
                if len(left) == len(state.waiting):
                    return state if result is UNKNOWN or order in state.ended else None
                return Queue(left, state.ended | {order}, state.last_position)
            case GetOrder(order):
                where = "ended" if order in state.ended else "pending" if state.find(order) else "unknown"
                return state if result in (UNKNOWN, where) else None

    def _enqueue(self, state: Queue, call: Enqueue) -> Queue | None:
        position = self._positions.get(call.order)
        if position is None or call.order in state.ended or state.find(call.order):
            return state
        if self._position_before[position] != state.last_position:
            return None
        return Queue((*state.waiting, Waiting(position, call.order, call.quantity)), state.ended, position)
