"""A log reduced to one hash per entry, each of which stands for everything up to it."""

from collections.abc import Iterable

from utils.raft.core.messages import Entry

EMPTY = 0


class HashChain:
    """Two logs that have the same hash at an index are the same up to that index. Within one process of Python."""

    def __init__(self, base_index: int = 0, base_hash: int = EMPTY) -> None:
        self.begin_at(base_index, base_hash)

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._hashes) - 1

    def begin_at(self, base_index: int, base_hash: int) -> None:
        """A snapshot takes the place of everything up to there, and of what followed."""
        self.base_index = base_index
        self._hashes = [base_hash]

    def put(self, entries: Iterable[Entry]) -> None:
        """Consecutive entries; whatever was there from the first one's index on gives way."""
        for entry in entries:
            assert self.base_index < entry.index <= self.last_index + 1, f"entry {entry.index} leaves a gap"
            position = entry.index - self.base_index
            del self._hashes[position:]
            self._hashes.append(hash((self._hashes[-1], entry)))

    def at(self, index: int) -> int | None:
        """None if the log does not reach that far, or begins later."""
        return self._hashes[index - self.base_index] if self.base_index <= index <= self.last_index else None

    def holds(self, index: int, prefix: int) -> bool:
        """Whether the log has this hash there, or a snapshot of more: that one was compared when it came."""
        return index < self.base_index or self.at(index) == prefix
