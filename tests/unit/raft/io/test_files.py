"""What is durable, and in what order it becomes so: names as well as content."""

import subprocess
from pathlib import Path

import pytest

from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.io.files import File, OsFile, OsFiles
from utils.raft.io.storage import FileStorage

_SIZE = 64 * 1024


class ToldFile(OsFile):
    def __init__(self, file: File, name: str, told: list[str]) -> None:
        assert isinstance(file, OsFile)
        super().__init__(file._descriptor)
        self._name = name
        self._told = told

    def sync(self) -> None:
        self._told.append(f"sync {self._name}")
        super().sync()

    def sync_data(self) -> None:
        self._told.append(f"sync {self._name}")
        super().sync_data()


class ToldFiles(OsFiles):
    """Real ones, which tell what was made durable when."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def create(self, path: Path) -> File:
        return ToldFile(super().create(path), path.name, self.told)

    def open(self, path: Path) -> File:
        return ToldFile(super().open(path), path.name, self.told)

    def rename(self, path: Path, new_path: Path) -> None:
        self.told.append(f"rename {path.name} {new_path.name}")
        super().rename(path, new_path)

    def remove(self, path: Path) -> None:
        self.told.append(f"remove {path.name}")
        super().remove(path)

    def read(self, path: Path, bytes_max: int = -1) -> bytes:
        self.told.append(f"read {path.name}")
        return super().read(path, bytes_max)

    def sync_directory(self, path: Path) -> None:
        self.told.append(f"sync {path.name}/")
        super().sync_directory(path)


@pytest.fixture
def files() -> ToldFiles:
    return ToldFiles()


@pytest.fixture
def storage(tmp_path: Path, files: ToldFiles) -> FileStorage:
    opened = FileStorage(tmp_path / "node_1" / "raft", cluster_id="c", node_id="node_1", files=files)
    opened.open()
    return opened


def entry(index: int) -> Entry:
    return Entry(index, 1, EntryKind.COMMAND, b"x")


def test_each_new_directory_is_durable_in_the_one_it_lies_in(
    tmp_path: Path, storage: FileStorage, files: ToldFiles
) -> None:
    storage.close()
    assert files.told[:2] == [f"sync {tmp_path.name}/", "sync node_1/"]


def test_a_new_file_gets_its_name_when_its_content_is_durable_and_counts_when_its_name_is(
    storage: FileStorage, files: ToldFiles
) -> None:
    files.told.clear()
    storage.append(HardState(1), [entry(1), entry(2)])
    assert files.told == ["sync log-0000000000000001.raft"]
    files.told.clear()
    storage.save_snapshot(Snapshot(1, 1, b"", b"state"))
    name = "snapshot-0000000000000001"
    assert files.told == [f"sync {name}.new", f"rename {name}.new {name}.raft", "sync raft/"]
    files.told.clear()
    storage.begin_log(LogBase(1, 1), None, [entry(2)])
    storage.close()
    name = "log-0000000000000002"
    assert files.told == [
        f"sync {name}.new",
        f"rename {name}.new {name}.raft",
        "sync raft/",
        "remove log-0000000000000001.raft",
    ]


def test_what_a_crash_of_the_process_left_is_made_durable_before_it_counts(
    tmp_path: Path, storage: FileStorage, files: ToldFiles
) -> None:
    """It may have died between a rename and the sync of the directory: a power cut would take the name back."""
    storage.append(HardState(1), [entry(1), entry(2)])
    storage.save_snapshot(Snapshot(1, 1, b"", b"state"))
    storage.close()
    files.told.clear()
    again = FileStorage(tmp_path / "node_1" / "raft", cluster_id="c", node_id="node_1", files=files)
    again.open()
    again.close()
    reads = [told for told in files.told if told.startswith(("read", "remove"))]
    assert files.told.index("sync raft/") < files.told.index(reads[0])


def test_what_is_read_is_what_the_disk_has(tmp_path: Path) -> None:
    """After a failed sync the page cache may show what was never written: reading drops it first."""
    path = tmp_path / "file"
    path.write_bytes(bytes(_SIZE))
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True).stdout
    if kind.strip() == "tmpfs":
        pytest.skip("these files are in memory, and there is no disk to read")
    for _ in range(2):
        before = _bytes_fetched()
        assert OsFiles().read(path) == bytes(_SIZE)
        assert _bytes_fetched() - before >= _SIZE


def _bytes_fetched() -> int:
    """What this process has caused to be fetched from a disk (proc(5), /proc/self/io)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("read_bytes"))
