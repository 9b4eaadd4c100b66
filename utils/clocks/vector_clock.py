"""Vector clocks (Fidge 1988, Mattern 1989): which events happened before which, without any wall clock.

Here only events tick. Sending and receiving do not, and receiving merges: so a clock counts, for each process, the
events of it that its holder knows of.
"""

from collections.abc import Mapping


class VectorClock:
    """Immutable. A process that is not named has counted nothing: {"a": 0} equals {}.

    The order is partial: neither `x <= y` nor `y <= x` means that the two are concurrent.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, int] | None = None) -> None:
        """Raises ValueError for a count below zero."""
        entries = entries or {}
        if any(count < 0 for count in entries.values()):
            raise ValueError(f"a clock counts from zero: {dict(entries)}")
        self._entries = {process: count for process, count in entries.items() if count}

    @property
    def entries(self) -> dict[str, int]:
        """A copy of the counts, without zeros."""
        return dict(self._entries)

    def __getitem__(self, process: str) -> int:
        """How many events of `process` are counted."""
        return self._entries.get(process, 0)

    def tick(self, process: str) -> "VectorClock":
        """After one more event of `process`."""
        return VectorClock({**self._entries, process: self[process] + 1})

    def merge(self, other: "VectorClock") -> "VectorClock":
        """The least clock that counts everything that either counts."""
        if other <= self:
            return self
        return VectorClock({process: max(self[process], other[process]) for process in self.entries | other.entries})

    def happened_before(self, other: "VectorClock") -> bool:
        """Strictly: everything counted here is counted there, and more."""
        return self <= other and self != other

    def concurrent_with(self, other: "VectorClock") -> bool:
        """Each counts something that the other does not."""
        return not self <= other and not other <= self

    def __le__(self, other: "VectorClock") -> bool:
        return all(count <= other[process] for process, count in self._entries.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VectorClock) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __repr__(self) -> str:
        return f"VectorClock({self._entries})"
