"""A state of the world as a few numbers, each of which stands for the state of a node or for a message."""

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple


class State(NamedTuple):
    """By number. `leaders`: in the order of their epochs; the last one is the only one whose proposals count."""

    log: int
    queue: int
    database: int
    payment: int
    leaders: tuple[int, ...]
    # A set of messages, as bits.
    messages: int


class Step(NamedTuple):
    """`actor`: a participant, `log`, `queue`, a step of an election, or a leader's epoch. `message`: its number."""

    actor: str | int
    message: int


class Numbers:
    """Gives equal values the same number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, value: Hashable) -> int:
        if (number := self._numbers.get(value)) is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


def bits_of(bits: int) -> Iterator[int]:
    """The numbers in a set of numbers."""
    while bits:
        bit = bits & -bits
        bits ^= bit
        yield bit.bit_length() - 1
