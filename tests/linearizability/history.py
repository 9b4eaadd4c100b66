"""What clients asked, when, and what they were told."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


# The outcome of an operation that nobody answered: it may take effect at any time after its call, or never.
UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Operation:
    """`called_at` and `returned_at` are places in the one order in which the recorder saw calls and answers.

    `returned_at`: None while nobody has answered, which may be for ever; then `result` is what others tell of it, or
    UNKNOWN.
    """

    client: str
    call: Any
    called_at: int
    returned_at: int | None = None
    result: Any = UNKNOWN


@dataclass
class History:
    """Of one object: the clients of one process record in it, so one counter orders everything."""

    operations: list[Operation] = field(default_factory=list)
    _moments: Iterator[int] = field(default_factory=itertools.count)

    def call(self) -> int:
        """A call begins now: its moment."""
        return next(self._moments)

    def answered(self, client: str, call: Any, called_at: int, result: Any) -> None:
        self.operations.append(Operation(client, call, called_at, next(self._moments), result))

    def unanswered(self, client: str, call: Any, called_at: int) -> None:
        """Its client must not go on under the same name: it would do two things at once."""
        self.operations.append(Operation(client, call, called_at))

    @property
    def answered_count(self) -> int:
        return sum(operation.returned_at is not None for operation in self.operations)
