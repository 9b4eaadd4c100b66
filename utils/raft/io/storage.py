"""What a node never forgets: term, vote, entries and the newest snapshot, on disk before anybody is told of them.

A directory holds files of records (log_file.py). Each record is what one synced write made durable: the hard state as
it was then, and entries; an entry replaces whatever the log had from its index on, so nothing is ever changed in place.
A log that gets shorter begins anew in a file that says after which entry, and then the files before it go.

Beside them lies a snapshot (snapshot_file.py). It is durable before the log that it makes obsolete is gone.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from utils.config import ConfigError
from utils.observe.logging import get_logger
from utils.raft.core.messages import Entry, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.core.snapshots import log_beside_snapshot
from utils.raft.errors import LogDamagedError
from utils.raft.io.files import File, Files, OsFiles
from utils.raft.io.log_file import SPACE_BYTES, VERSION, FileHeader, LogFile, read_header
from utils.raft.io.snapshot_file import SnapshotHeader, read_snapshot, write_snapshot

log = get_logger()

# A file is closed at this size and the next one begun.
FILE_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class StoredState:
    """What a node was before it stopped. `entries` are those after `base`, without gaps; `snapshot` covers `base`."""

    hard_state: HardState
    snapshot: Snapshot
    base: LogBase
    entries: tuple[Entry, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the node has never taken part in anything, or has lost its disk."""
        return (self.hard_state, self.snapshot, self.entries) == (HardState(), Snapshot(), ())


class Storage(Protocol):
    """Blocks for the disk. One thread at a time uses it, except for the two calls that say otherwise.

    StorageFullError from any call means: nothing was written, and the same may be tried again. Any other OSError means
    that nobody knows what the disk holds: the process must end.
    """

    def open(self) -> StoredState:
        """Takes hold of the log and reads it.

        Raises LogDamagedError, FormatTooNewError, and ConfigError when it is another node's.
        """

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Durable when it returns."""

    def begin_log(self, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """The log is now `base` and these entries; durable when it returns. A durable snapshot must cover `base`."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Durable when it returns, unless there is a newer one. In any thread."""

    def read_snapshot(self) -> Snapshot:
        """The newest one. In any thread."""

    def close(self) -> None: ...


class Record(msgspec.Struct, frozen=True, array_like=True):
    """The payload of a frame. A field may only be added at the end."""

    current_term: int
    voted_for: str | None
    entries: Sequence[Entry]


_decode = msgspec.msgpack.Decoder(Record).decode


class FileStorage:
    """The log and the snapshot of one node in its own directory."""

    def __init__(
        self,
        directory: Path,
        *,
        cluster_id: str,
        node_id: str,
        file_bytes_max: int = FILE_BYTES_MAX,
        space_bytes: int = SPACE_BYTES,
        files: Files | None = None,
    ) -> None:
        """`files`: those of the operating system, unless they are given."""
        self._directory = directory
        self._files = files or OsFiles()
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._file_bytes_max = file_bytes_max
        self._space_bytes = space_bytes
        self._hard_state = HardState()
        self._file: LogFile | None = None
        self._snapshot_index = 0
        # Between the writer of the log, who saves snapshots of the leader, and whoever saves the node's own.
        self._snapshot_lock = threading.Lock()
        self._lock: File | None = None

    def open(self) -> StoredState:
        self._files.make_directory(self._directory)
        self._lock = self._take_lock()
        try:
            return self._read()
        except BaseException:
            self.close()
            raise

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        assert self._file is not None
        hard_state = hard_state or self._hard_state
        if self._file.bytes_used >= self._file_bytes_max:
            following = self._create(self._header(self._file.sequence))
            self._file.close()
            self._file = following
        self._file.append(_record(hard_state, entries))
        self._hard_state = hard_state

    def begin_log(self, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        assert self._file is not None
        hard_state = hard_state or self._hard_state
        file = self._create(self._header(self._file.sequence, base), [_record(hard_state, entries)])
        self._file.close()
        self._file = file
        self._hard_state = hard_state
        self._unlink(obsolete for obsolete in self._paths() if obsolete < file.path)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        index = snapshot.last_included_index
        with self._snapshot_lock:
            if index <= self._snapshot_index:
                return
            path = self._directory / f"snapshot-{index:016d}.raft"
            write_snapshot(self._files, path, snapshot, cluster_id=self._cluster_id, node_id=self._node_id)
            self._snapshot_index = index
            self._unlink(older for older in self._snapshot_paths() if older < path)

    def read_snapshot(self) -> Snapshot:
        with self._snapshot_lock:
            paths = self._snapshot_paths()
            if not paths:
                return Snapshot()
            header, snapshot = read_snapshot(self._files, paths[-1])
        self._check_owner(paths[-1], header)
        return snapshot

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> File:
        try:
            return self._files.lock(self._directory / "lock")
        except BlockingIOError:
            raise ConfigError(f"DATA_DIR: {self._directory} is in use by another process") from None

    def _read(self) -> StoredState:
        # The process may have died between a rename and this: what is read must not lose its name in a power cut.
        self._files.sync_directory(self._directory)
        self._unlink(self._files.glob(self._directory, "*.new"))
        snapshot = self.read_snapshot()
        self._snapshot_index = snapshot.last_included_index
        # What an interrupted clean-up has left.
        self._unlink(self._snapshot_paths()[:-1])
        base, entries = self._read_log()
        if base.index > self._snapshot_index:
            raise LogDamagedError(str(self._directory), 0, f"the snapshot of the entries up to {base.index} is missing")
        if (rest := log_beside_snapshot(snapshot, base, entries)) is not None:
            log.warning("the log was replaced by the snapshot", index=self._snapshot_index, entries=len(entries))
            base, entries = rest[0], list(rest[1])
            self.begin_log(base, None, entries)
        return StoredState(self._hard_state, snapshot, base, tuple(entries))

    def _read_log(self) -> tuple[LogBase, list[Entry]]:
        paths, base = self._current_paths()
        entries: list[Entry] = []
        for path in paths:
            is_last = path == paths[-1]
            file, header, found = LogFile.open(self._files, path, is_last=is_last, space_bytes=self._space_bytes)
            previous, self._file = self._file, file
            self._check_owner(path, header)
            if previous is not None:
                previous.close()
                if header.first_sequence != previous.sequence:
                    why = f"it begins with record {header.first_sequence}, not {previous.sequence}"
                    raise LogDamagedError(str(path), 0, why)
            if found.torn_bytes:
                log.warning("a torn record was cut off", path=str(path), offset=found.end, bytes=found.torn_bytes)
            for frame in found.frames:
                self._replay(path, frame.end, frame.payload, base, entries)
        return base, entries

    def _current_paths(self) -> tuple[list[Path], LogBase]:
        """The files of the log as it is now, and where it begins. Those of an earlier log are removed."""
        paths = self._paths()
        if not paths:
            if self._snapshot_index:
                raise LogDamagedError(str(self._directory), 0, "the log beside the snapshot is missing")
            self._create(self._header(1, LogBase())).close()
            return self._paths(), LogBase()
        for position in reversed(range(len(paths))):
            header = read_header(self._files, paths[position])
            if header.base is not None or header.first_sequence == 1:
                self._unlink(paths[:position])
                return paths[position:], header.base or LogBase()
        raise LogDamagedError(str(paths[0]), 0, f"it begins with record {header.first_sequence}, not 1")

    def _replay(self, path: Path, end: int, payload: bytes, base: LogBase, entries: list[Entry]) -> None:
        try:
            record = _decode(payload)
        except msgspec.DecodeError as error:
            raise LogDamagedError(str(path), end - len(payload), f"a record cannot be read: {error}") from error
        self._hard_state = HardState(record.current_term, record.voted_for)
        for entry in record.entries:
            position = entry.index - base.index - 1
            if not 0 <= position <= len(entries):
                missing = base.index + len(entries) + 1
                raise LogDamagedError(str(path), end - len(payload), f"entry {missing} is missing")
            del entries[position:]
            entries.append(entry)

    def _check_owner(self, path: Path, header: FileHeader | SnapshotHeader) -> None:
        if (header.cluster_id, header.node_id) != (self._cluster_id, self._node_id):
            raise ConfigError(
                f"DATA_DIR: {path} is the log of {header.node_id} in {header.cluster_id}, "
                f"not of {self._node_id} in {self._cluster_id}"
            )

    def _header(self, first_sequence: int, base: LogBase | None = None) -> FileHeader:
        return FileHeader(VERSION, self._cluster_id, self._node_id, first_sequence, base)

    def _create(self, header: FileHeader, payloads: Sequence[bytes] = ()) -> LogFile:
        path = self._directory / f"log-{header.first_sequence:016d}.raft"
        return LogFile.create(self._files, path, header, payloads, space_bytes=self._space_bytes)

    def _paths(self) -> list[Path]:
        return self._files.glob(self._directory, "log-*.raft")

    def _snapshot_paths(self) -> list[Path]:
        return self._files.glob(self._directory, "snapshot-*.raft")

    def _unlink(self, paths: Iterable[Path]) -> None:
        """Oldest first. Not synced: what comes back after a power cut is recognised and removed again."""
        for path in paths:
            self._files.remove(path)


def _record(hard_state: HardState, entries: Sequence[Entry]) -> bytes:
    return msgspec.msgpack.encode(Record(hard_state.current_term, hard_state.voted_for, entries))
