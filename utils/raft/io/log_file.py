"""One file of the log: a header, then frames, then zeros that are space for more.

The zeros are written and synced a megabyte at a time: a frame that goes into space that the file already has costs one
fdatasync without a change of the file's size, and a full disk shows before any of the frame is written.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from utils.formats import decode_header
from utils.raft.core.messages import LogBase
from utils.raft.errors import LogDamagedError
from utils.raft.io.files import File, Files
from utils.raft.io.frames import Scan, encode_frame, read_frame, scan

# 2: a log may begin after a base.
VERSION = 2
SPACE_BYTES = 1024 * 1024
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

    def __init__(self, file: File, path: Path, *, end: int, size: int, sequence: int, space_bytes: int) -> None:
        self.path = path
        self.sequence = sequence
        self._file = file
        self._end = end
        self._size = size
        self._space_bytes = space_bytes

    @property
    def bytes_used(self) -> int:
        return self._end

    @classmethod
    def create(
        cls,
        files: Files,
        path: Path,
        header: FileHeader,
        payloads: Sequence[bytes] = (),
        *,
        space_bytes: int = SPACE_BYTES,
    ) -> "LogFile":
        """A new file with these records. It gets its name only when it is complete. Raises StorageFullError."""
        temporary = path.with_suffix(".new")
        opened = files.create(temporary)
        try:
            file = cls(opened, path, end=0, size=0, sequence=header.first_sequence, space_bytes=space_bytes)
            # The header's frame is number 0 of its file: the sequence is the records' alone.
            frames = [encode_frame(0, msgspec.msgpack.encode(header))]
            frames += [encode_frame(file.sequence + offset, payload) for offset, payload in enumerate(payloads)]
            file._write(b"".join(frames))
            file.sequence += len(payloads)
            files.rename(temporary, path)
            files.sync_directory(path.parent)
        except BaseException:
            opened.close()
            raise
        return file

    @classmethod
    def open(
        cls, files: Files, path: Path, *, is_last: bool, space_bytes: int = SPACE_BYTES
    ) -> tuple["LogFile", FileHeader, Scan]:
        """An existing file, what it says of itself, and its records. A torn last record of the last file is cut off.

        Raises LogDamagedError, FormatTooNewError.
        """
        opened = files.open(path)
        try:
            data = files.read(path)
            header, start = _header(path, data)
            found = scan(str(path), data, start, header.first_sequence)
            sequence = header.first_sequence + len(found.frames)
            file = cls(opened, path, end=found.end, size=len(data), sequence=sequence, space_bytes=space_bytes)
            if found.torn_bytes and not is_last:
                raise LogDamagedError(str(path), found.end, "its last record is broken, and another file follows")
            if found.torn_bytes:
                opened.truncate(found.end)
                file._size = found.end
            # After a crash of the process alone, what was read may not be on the disk yet.
            opened.sync()
        except BaseException:
            opened.close()
            raise
        return file, header, found

    def append(self, payload: bytes) -> None:
        """Writes the next record; it is on the disk when this returns. Raises StorageFullError and OSError."""
        self._write(encode_frame(self.sequence, payload))
        self.sequence += 1

    def close(self) -> None:
        self._file.close()

    def _write(self, frame: bytes) -> None:
        with full_disk():
            self._make_space(len(frame))
            self._file.write(frame, self._end)
        self._file.sync_data()
        self._end += len(frame)

    def _make_space(self, needed: int) -> None:
        if self._end + needed <= self._size:
            return
        size = self._end + needed + self._space_bytes
        self._file.write(bytes(size - self._size), self._size)
        self._size = size


def read_header(files: Files, path: Path) -> FileHeader:
    """Raises LogDamagedError, FormatTooNewError."""
    return _header(path, files.read(path, _HEADER_BYTES_MAX))[0]


def _header(path: Path, data: bytes) -> tuple[FileHeader, int]:
    frame = read_frame(data, 0)
    if frame is None:
        raise LogDamagedError(str(path), 0, "its header is broken")
    try:
        return decode_header(frame.payload, FileHeader, what="a Raft log", known=VERSION, path=str(path)), frame.end
    except msgspec.DecodeError as error:
        raise LogDamagedError(str(path), 0, f"its header cannot be read: {error}") from error


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Turns the errors that say so into StorageFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(str(error)) from error
        raise
