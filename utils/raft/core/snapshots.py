"""Snapshots instead of entries that are gone (paper, section 7): what is sent of them, received, and left on a disk."""

from collections.abc import Sequence

from utils.raft.core.messages import Entry, InstallSnapshotRequest, LogBase, Snapshot


def log_beside_snapshot(
    snapshot: Snapshot, base: LogBase, entries: Sequence[Entry]
) -> tuple[LogBase, Sequence[Entry]] | None:
    """What counts of the log that a disk holds beside its newest snapshot; None if `base` and `entries` are that.

    A snapshot is durable before the log that it makes obsolete is gone. If the power fails in between, the log is
    either one that goes on from the snapshot, or one that a leader's snapshot was to replace, or this node's own
    snapshot is ahead of it: committed entries may be applied before this disk has them.
    """
    index, term = snapshot.last_included_index, snapshot.last_included_term
    assert base.index <= index, f"a snapshot up to {base.index} is missing: the newest one ends at {index}"
    terms = (base.term, *(entry.term for entry in entries[: index - base.index]))
    is_in_log = len(terms) > index - base.index and terms[-1] == term
    return None if is_in_log else (LogBase(index, term), ())


class SnapshotAssembly:
    """The chunks of one snapshot of one leader, put together. Another leader's may have other bytes."""

    def __init__(self) -> None:
        self._identity = (0, 0, 0)
        self._data = bytearray()

    @property
    def offset(self) -> int:
        """The bytes received so far."""
        return len(self._data)

    def clear(self) -> None:
        self._data.clear()

    def take(self, chunk: InstallSnapshotRequest) -> Snapshot | None:
        """The snapshot, once it is complete. A chunk of an older one, or not the next, changes nothing."""
        identity = (chunk.term, chunk.last_included_index, chunk.last_included_term)
        if identity > self._identity:
            self._identity = identity
            self.clear()
        if identity != self._identity or chunk.offset != self.offset:
            return None
        self._data += chunk.data
        if not chunk.done:
            return None
        snapshot = Snapshot(chunk.last_included_index, chunk.last_included_term, chunk.configuration, bytes(self._data))
        self.clear()
        return snapshot


class SnapshotSource:
    """The snapshot that a leader sends to those who need one. The owner brings it, and it is kept as long as needed."""

    def __init__(self, bytes_per_chunk: int) -> None:
        self._bytes_per_chunk = bytes_per_chunk
        self._is_asked_for = False
        self.snapshot: Snapshot | None = None

    def take_wish(self, base: LogBase) -> bool:
        """Whether the owner should bring one, once: `base` is what it has to cover."""
        if self._is_asked_for or (self.snapshot is not None and self.snapshot.last_included_index >= base.index):
            return False
        self._is_asked_for = True
        return True

    def bring(self, snapshot: Snapshot) -> None:
        self._is_asked_for = False
        self.snapshot = snapshot

    def drop(self) -> None:
        """Nobody needs it now."""
        self.snapshot = None

    def chunk(self, term: int, offset: int) -> InstallSnapshotRequest:
        """Of the snapshot, from byte `offset` on."""
        assert self.snapshot is not None
        end = offset + self._bytes_per_chunk
        return InstallSnapshotRequest(
            term=term,
            last_included_index=self.snapshot.last_included_index,
            last_included_term=self.snapshot.last_included_term,
            configuration=self.snapshot.configuration,
            offset=offset,
            data=self.snapshot.data[offset:end],
            done=end >= len(self.snapshot.data),
        )
