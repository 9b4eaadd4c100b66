"""One file of the log: a header, then frames, then zeros that are space for more.

The zeros are written and synced a megabyte at a time: a frame that goes into space that the file already has costs one
fdatasync without a change of the file's size, and a full disk shows before any of the frame is written.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from utils.raft.core.messages import LogBase
from utils.raft.errors import LogDamagedError
from utils.raft.io.frames import Scan, encode_frame, read_frame, scan

# 2: a log may begin after a base.
VERSION = 2
_SPACE_BYTES = 1024 * 1024
_HEADER_BYTES_MAX = 64 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StorageFullError(Exception):
    """There is no space for what was to be written. Nothing of it counts as written; the same may be tried again."""


class FileHeader(msgspec.Struct, frozen=True):
    """The first frame of every file. A file of another cluster or node is not read by mistake."""

    version: int
    cluster_id: str
    node_id: str
    first_sequence: int
    # The log begins anew with this file, after that entry: the files before it are obsolete. Otherwise it goes on.
    base: LogBase | None = None


class LogFile:
    """An open file of the log. Its calls block for the disk; one thread at a time uses it.

    An OSError from any of them leaves the file in an unknown state: the process must end, and read it again.
    """

    def __init__(self, descriptor: int, path: Path, end: int, size: int, sequence: int) -> None:
        self.path = path
        self.sequence = sequence
        self._descriptor = descriptor
        self._end = end
        self._size = size

    @property
    def bytes_used(self) -> int:
        return self._end

    @classmethod
    def create(cls, path: Path, header: FileHeader, payloads: Sequence[bytes] = ()) -> "LogFile":
        """A new file with these records. It gets its name only when it is complete. Raises StorageFullError."""
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            file = cls(descriptor, path, 0, 0, header.first_sequence)
            # The header's frame is number 0 of its file: the sequence is the records' alone.
            frames = [encode_frame(0, msgspec.msgpack.encode(header))]
            frames += [encode_frame(file.sequence + offset, payload) for offset, payload in enumerate(payloads)]
            file._write(b"".join(frames))
            file.sequence += len(payloads)
            temporary.rename(path)
            sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return file

    @classmethod
    def open(cls, path: Path, *, is_last: bool) -> tuple["LogFile", FileHeader, Scan]:
        """An existing file, what it says of itself, and its records. A torn last record of the last file is cut off.

        Raises LogDamagedError.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            data = path.read_bytes()
            header, start = _header(path, data)
            found = scan(str(path), data, start, header.first_sequence)
            file = cls(descriptor, path, found.end, len(data), header.first_sequence + len(found.frames))
            if found.torn_bytes and not is_last:
                raise LogDamagedError(str(path), found.end, "its last record is broken, and another file follows")
            if found.torn_bytes:
                os.ftruncate(descriptor, found.end)
                file._size = found.end
            # After a crash of the process alone, what was read may not be on the disk yet.
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return file, header, found

    def append(self, payload: bytes) -> None:
        """Writes the next record; it is on the disk when this returns. Raises StorageFullError and OSError."""
        self._write(encode_frame(self.sequence, payload))
        self.sequence += 1

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, frame: bytes) -> None:
        with full_disk():
            self._make_space(len(frame))
            write_all(self._descriptor, frame, self._end)
        os.fdatasync(self._descriptor)
        self._end += len(frame)

    def _make_space(self, needed: int) -> None:
        if self._end + needed <= self._size:
            return
        size = self._end + needed + _SPACE_BYTES
        write_all(self._descriptor, bytes(size - self._size), self._size)
        self._size = size


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_header(path: Path) -> FileHeader:
    """Raises LogDamagedError."""
    with path.open("rb") as file:
        return _header(path, file.read(_HEADER_BYTES_MAX))[0]


def _header(path: Path, data: bytes) -> tuple[FileHeader, int]:
    frame = read_frame(data, 0)
    if frame is None:
        raise LogDamagedError(str(path), 0, "its header is broken")
    try:
        header = msgspec.msgpack.decode(frame.payload, type=FileHeader)
    except msgspec.DecodeError as error:
        raise LogDamagedError(str(path), 0, f"its header cannot be read: {error}") from error
    if header.version > VERSION:
        raise LogDamagedError(str(path), 0, f"its format has version {header.version}; this program knows {VERSION}")
    return header, frame.end


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Turns the errors that say so into StorageFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(str(error)) from error
        raise


def write_all(descriptor: int, data: bytes, position: int) -> None:
    """Writes all of `data` at byte `position`; not synced."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written
