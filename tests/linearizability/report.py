"""What a run has shown, and whether that is enough."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.linearizability.history import History


@dataclass(frozen=True)
class Report:
    """`terms`: how many the cluster has gone through."""

    histories: Sequence[History]
    faults: int
    terms: int

    def require(self, *, answered_min: int) -> None:
        """A history of little traffic, or without elections, is linearizable and proves nothing."""
        for history in self.histories:
            answered = history.answered_count
            assert answered >= answered_min, f"{answered} operations were answered: too few to prove anything"
        assert self.terms * 2 >= self.faults, f"{self.faults} faults led to {self.terms} new terms: too few"

    def __str__(self) -> str:
        operations = sum(len(history.operations) for history in self.histories)
        answered = sum(history.answered_count for history in self.histories)
        return (
            f"{operations} operations on {len(self.histories)} objects are linearizable, {operations - answered} of "
            f"them without an answer, under {self.faults} faults and {self.terms} new terms"
        )
