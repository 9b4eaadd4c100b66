"""The durable log: term, vote and entries on disk before anybody is told of them.

A directory holds files of records (log_file.py). Each record is what one synced write made durable: the hard state as
it was then, and entries; an entry replaces whatever the log had from its index on, so nothing is ever changed in place.
"""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from utils.config import ConfigError
from utils.observe.logging import get_logger
from utils.raft.core.messages import Entry, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.errors import LogDamagedError
from utils.raft.io.log_file import VERSION, FileHeader, LogFile, sync_directory

log = get_logger()

# A file is closed at this size and the next one begun, so that a snapshot can drop whole files.
FILE_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class StoredState:
    """What a node was before it stopped. `entries` are those after `snapshot`, without gaps."""

    hard_state: HardState
    snapshot: Snapshot
    entries: tuple[Entry, ...]


class Storage(Protocol):
    """Blocks for the disk; used by one thread at a time."""

    def open(self) -> StoredState:
        """Takes hold of the log and reads it. Raises LogDamagedError, and ConfigError when it is another node's."""

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Durable when it returns. Raises StorageFullError: nothing was written, and the same must be tried again.

        Any other OSError means that nobody knows what the disk holds: the process must end.
        """

    def close(self) -> None: ...


class Record(msgspec.Struct, frozen=True, array_like=True):
    """The payload of a frame. A field may only be added at the end."""

    current_term: int
    voted_for: str | None
    entries: Sequence[Entry]


_decode = msgspec.msgpack.Decoder(Record).decode


class FileStorage:
    """The log of one node in its own directory."""

    def __init__(self, directory: Path, *, cluster_id: str, node_id: str, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._directory = directory
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._file_bytes_max = file_bytes_max
        self._hard_state = HardState()
        self._file: LogFile | None = None
        self._lock: int | None = None

    def open(self) -> StoredState:
        self._directory.mkdir(parents=True, exist_ok=True)
        sync_directory(self._directory.parent)
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
            following = self._create(self._file.sequence)
            self._file.close()
            self._file = following
        self._file.append(msgspec.msgpack.encode(Record(hard_state.current_term, hard_state.voted_for, entries)))
        self._hard_state = hard_state

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> int:
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise ConfigError(f"DATA_DIR: {self._directory} is in use by another process") from None
        return descriptor

    def _read(self) -> StoredState:
        for unfinished in self._directory.glob("log-*.new"):
            unfinished.unlink()
        paths = sorted(self._directory.glob("log-*.raft"))
        entries: list[Entry] = []
        for path in paths:
            file, header, found = LogFile.open(path, is_last=path == paths[-1])
            previous, self._file = self._file, file
            self._check(path, header, previous)
            if previous is not None:
                previous.close()
            if found.torn_bytes:
                log.warning("a torn record was cut off", path=str(path), offset=found.end, bytes=found.torn_bytes)
            for frame in found.frames:
                self._replay(path, frame.end, frame.payload, entries)
        if self._file is None:
            self._file = self._create(first_sequence=1)
        return StoredState(self._hard_state, Snapshot(), tuple(entries))

    def _check(self, path: Path, header: FileHeader, previous: LogFile | None) -> None:
        if (header.cluster_id, header.node_id) != (self._cluster_id, self._node_id):
            raise ConfigError(
                f"DATA_DIR: {path} is the log of {header.node_id} in {header.cluster_id}, "
                f"not of {self._node_id} in {self._cluster_id}"
            )
        expected = 1 if previous is None else previous.sequence
        if header.first_sequence != expected:
            raise LogDamagedError(str(path), 0, f"it begins with record {header.first_sequence}, not {expected}")

    def _replay(self, path: Path, end: int, payload: bytes, entries: list[Entry]) -> None:
        try:
            record = _decode(payload)
        except msgspec.DecodeError as error:
            raise LogDamagedError(str(path), end - len(payload), f"a record cannot be read: {error}") from error
        self._hard_state = HardState(record.current_term, record.voted_for)
        for entry in record.entries:
            if not 1 <= entry.index <= len(entries) + 1:
                raise LogDamagedError(str(path), end - len(payload), f"entry {len(entries) + 1} is missing")
            del entries[entry.index - 1 :]
            entries.append(entry)

    def _create(self, first_sequence: int) -> LogFile:
        path = self._directory / f"log-{first_sequence:016d}.raft"
        return LogFile.create(path, FileHeader(VERSION, self._cluster_id, self._node_id, first_sequence))
