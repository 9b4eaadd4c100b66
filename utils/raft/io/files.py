"""What the storage asks of a file system. The simulation has another one, which loses what was not synced."""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from utils.observe.counters import count


class File(Protocol):
    """An open file. Its calls block for the disk."""

    def write(self, data: bytes, position: int) -> None:
        """All of it, at that byte; not synced."""

    def truncate(self, size: int) -> None:
        """Not synced."""

    def sync(self) -> None:
        """Content and size are durable when it returns; its name is not, see `Files.sync_directory`."""

    def sync_data(self) -> None:
        """As `sync`, without what is not needed to read it again."""

    def close(self) -> None: ...


class Files(Protocol):
    """Every call may raise OSError."""

    def make_directory(self, path: Path) -> None:
        """With those that it lies in; each new one is durable. Nothing happens if there is one."""

    def lock(self, path: Path) -> File:
        """Until it is closed, or the process ends. Raises BlockingIOError if another process has it."""

    def glob(self, directory: Path, pattern: str) -> list[Path]:
        """In the order of the names."""

    def read(self, path: Path, bytes_max: int = -1) -> bytes:
        """All of it, or its first bytes: what the disk has, and not what the page cache only wants to have written."""

    def create(self, path: Path) -> File:
        """An empty file; if there was one of that name, it is emptied."""

    def open(self, path: Path) -> File: ...

    def rename(self, path: Path, new_path: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None:
        """Makes the names in a directory durable: new ones, changed ones, and that some are gone."""


class OsFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, position: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            view, position = view[written:], position + written

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        count("disk.syncs")
        os.fsync(self._descriptor)

    def sync_data(self) -> None:
        count("disk.syncs")
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class OsFiles:
    """Those of the operating system."""

    def make_directory(self, path: Path) -> None:
        if not path.parent.exists():
            self.make_directory(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_directory(path.parent)

    def lock(self, path: Path) -> File:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return OsFile(descriptor)

    def glob(self, directory: Path, pattern: str) -> list[Path]:
        return sorted(directory.glob(pattern))

    def read(self, path: Path, bytes_max: int = -1) -> bytes:
        with path.open("rb") as file:
            # A process that ended after a failed sync has left pages that look as if they were written, and are not.
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return file.read(bytes_max)

    def create(self, path: Path) -> File:
        return OsFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def open(self, path: Path) -> File:
        return OsFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def rename(self, path: Path, new_path: Path) -> None:
        path.rename(new_path)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
