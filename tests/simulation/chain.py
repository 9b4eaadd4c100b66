"""A log reduced to one hash per entry, each of which stands for everything up to it."""

import hashlib
from collections.abc import Iterable

import msgspec

from utils.raft.core.messages import Entry

EMPTY = b""


def extended(chain_hash: bytes, entry: Entry) -> bytes:
    return hashlib.blake2b(chain_hash + msgspec.msgpack.encode(entry), digest_size=8).digest()


class HashChain:
    """Two logs that have the same hash at an index are the same up to that index."""

    def __init__(self) -> None:
        self._hashes = [EMPTY]

    @property
    def last_index(self) -> int:
        return len(self._hashes) - 1

    def put(self, entries: Iterable[Entry]) -> None:
        """Consecutive entries; whatever was there from the first one's index on gives way."""
        for entry in entries:
            assert 0 < entry.index <= len(self._hashes), f"entry {entry.index} leaves a gap"
            previous = self._hashes[entry.index - 1]
            del self._hashes[entry.index :]
            self._hashes.append(extended(previous, entry))

    def at(self, index: int) -> bytes | None:
        """None if the log does not reach that far."""
        return self._hashes[index] if index < len(self._hashes) else None
