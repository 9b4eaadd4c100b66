"""A disk with real files in it, byte by byte, that forgets what was not synced when the power fails.

As file systems do it: each write that was not synced is there afterwards, or not, or in part, whatever became of those
before it; names that were not synced are as they were after any number of the changes to them, in their order.
"""

import errno
import fnmatch
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.simulation.loop import PowerCut

_Change = Callable[[bytearray], None]


class _Inode:
    """The bytes of a file: as programs see them, and as the disk has them."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []

    def write(self, data: bytes, position: int) -> None:
        _write(self.seen, data, position)
        self.unsynced.append((position, data))

    def sync(self) -> None:
        for position, data in self.unsynced:
            _write(self.durable, data, position)
        self.unsynced.clear()

    def cut_power(self, rng: random.Random) -> None:
        for position, data in self.unsynced:
            survives = rng.random()
            if survives < 0.3:
                _write(self.durable, data, position)
            elif survives < 0.6:
                first, last = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
                _write(self.durable, data[first:last], position + first)
        self.unsynced.clear()
        self.seen = bytearray(self.durable)


class SimulatedFiles:
    """A `utils.raft.io.files.Files`. Outlives the processes that use it."""

    def __init__(self) -> None:
        self._seen: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        # Changes of names, each of which happens at once: of a rename both halves.
        self._unsynced: list[dict[str, _Inode | None]] = []
        self._is_locked = False
        self.is_full = False
        # Where the power is to fail, or the disk to say that it could not sync.
        self.cuts_at: str | None = None
        self.fails_at: str | None = None
        self.cuts: Counter[str] = Counter()

    def make_directory(self, path: Path) -> None:
        """There is only one."""

    def lock(self, path: Path) -> "_Lock":
        if self._is_locked:
            raise BlockingIOError
        self._is_locked = True
        return _Lock(self, path)

    def glob(self, directory: Path, pattern: str) -> list[Path]:
        return [directory / name for name in sorted(self._seen) if fnmatch.fnmatchcase(name, pattern)]

    def read(self, path: Path, bytes_max: int = -1) -> bytes:
        data = bytes(self._seen[path.name].seen)
        return data if bytes_max < 0 else data[:bytes_max]

    def create(self, path: Path) -> "SimulatedFile":
        self.point(f"create {_kind(path)}")
        inode = _Inode()
        self._change({path.name: inode})
        return SimulatedFile(self, path, inode)

    def open(self, path: Path) -> "SimulatedFile":
        return SimulatedFile(self, path, self._seen[path.name])

    def rename(self, path: Path, new_path: Path) -> None:
        self.point(f"rename {_kind(path)}")
        self._change({new_path.name: self._seen[path.name], path.name: None})

    def remove(self, path: Path) -> None:
        self.point(f"remove {_kind(path)}")
        self._change({path.name: None})

    def sync_directory(self, path: Path) -> None:
        self.point("sync names")
        for change in self._unsynced:
            _rename(self._durable, change)
        self._unsynced.clear()

    def kill(self) -> None:
        """The process that used them has gone, and nothing else."""
        self._is_locked = False

    def cut_power(self, rng: random.Random) -> None:
        for change in self._unsynced[: rng.randint(0, len(self._unsynced))]:
            _rename(self._durable, change)
        self._unsynced.clear()
        for inode in self._durable.values():
            inode.cut_power(rng)
        self._seen = dict(self._durable)
        self._is_locked = False
        self.cuts_at = self.fails_at = None

    def copy(self) -> "SimulatedFiles":
        """Another disk with the same on it, for trying something."""
        copy = SimulatedFiles()
        for name, inode in self._durable.items():
            copied = copy._seen[name] = copy._durable[name] = _Inode()
            copied.seen, copied.durable = bytearray(inode.durable), bytearray(inode.durable)
        return copy

    def contents(self) -> dict[str, bytearray]:
        """By name: the bytes, which may be changed."""
        return {name: inode.seen for name, inode in self._seen.items()}

    def point(self, label: str) -> None:
        """The disk is about to do that. Raises PowerCut or OSError, if that was wanted."""
        if self.cuts_at == label:
            self.cuts[label] += 1
            raise PowerCut(label)
        if self.fails_at == label:
            raise OSError(errno.EIO, "Input/output error")

    def _change(self, change: dict[str, _Inode | None]) -> None:
        _rename(self._seen, change)
        self._unsynced.append(change)


class SimulatedFile:
    def __init__(self, files: SimulatedFiles, path: Path, inode: _Inode) -> None:
        self._files = files
        self._kind = _kind(path)
        self._inode = inode

    def write(self, data: bytes, position: int) -> None:
        self._files.point(f"write {self._kind}")
        if self._files.is_full and position + len(data) > len(self._inode.seen):
            raise OSError(errno.ENOSPC, "No space left on device")
        self._inode.write(data, position)

    def truncate(self, size: int) -> None:
        """Only done to what was read after a power cut; it is simply written anew as zeros."""
        self._inode.write(bytes(len(self._inode.seen) - size), size)

    def sync(self) -> None:
        self._files.point(f"sync {self._kind}")
        self._inode.sync()

    sync_data = sync

    def close(self) -> None:
        """What was not synced stays so."""


class _Lock(SimulatedFile):
    def __init__(self, files: SimulatedFiles, path: Path) -> None:
        super().__init__(files, path, _Inode())

    def close(self) -> None:
        self._files.kill()


def _write(data: bytearray, written: bytes, position: int) -> None:
    if position > len(data):
        data.extend(bytes(position - len(data)))
    data[position : position + len(written)] = written


def _rename(names: dict[str, _Inode], change: dict[str, _Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _kind(path: Path) -> str:
    """log or snapshot"""
    return path.name.partition("-")[0]
