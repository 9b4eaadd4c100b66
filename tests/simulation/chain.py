"""A log reduced to one hash per entry, each of which stands for everything up to it."""

import hashlib
from collections.abc import Iterable

import msgspec

from utils.raft.core.messages import Entry

EMPTY = b"\0" * 8


def extended(chain_hash: bytes, entry: Entry) -> bytes:
    return hashlib.blake2b(chain_hash + msgspec.msgpack.encode(entry), digest_size=8).digest()


class HashChain:
    """Two logs that have the same hash at an index are the same up to that index."""

    def __init__(self) -> None:
        self._hashes = [EMPTY]
        self.base_index = 0

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._hashes) - 1

    def begin_at(self, base_index: int, base_hash: bytes) -> None:
        """A snapshot takes the place of everything up to there, and of what followed."""
        self._hashes = [base_hash]
        self.base_index = base_index

    def put(self, entries: Iterable[Entry]) -> None:
        """Consecutive entries; whatever was there from the first one's index on gives way."""
        for entry in entries:
            assert self.base_index < entry.index <= self.last_index + 1, f"entry {entry.index} leaves a gap"
            previous = self._hashes[entry.index - 1 - self.base_index]
            del self._hashes[entry.index - self.base_index :]
            self._hashes.append(extended(previous, entry))

    def at(self, index: int) -> bytes | None:
        """None if the log does not reach that far, or begins later."""
        return self._hashes[index - self.base_index] if self.base_index <= index <= self.last_index else None

    def holds(self, index: int, prefix: bytes) -> bool:
        """Whether the log has this hash there, or a snapshot of more: that one was compared when it came."""
        return index < self.base_index or self.at(index) == prefix
