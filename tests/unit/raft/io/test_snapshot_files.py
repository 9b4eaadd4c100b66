"""Snapshots on disk, and logs that begin anew: at no moment may a power cut leave less than was promised."""

import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from utils.config import ConfigError
from utils.formats import FormatTooNewError
from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.errors import LogDamagedError
from utils.raft.io import snapshot_file
from utils.raft.io.frames import encode_frame
from utils.raft.io.log_file import StorageFullError
from utils.raft.io.memory import MemoryStorage
from utils.raft.io.snapshot_file import SnapshotHeader
from utils.raft.io.storage import FileStorage, Storage, StoredState

_OF_TWO = Snapshot(2, 1, b"who", b"state after two")


def _storage(directory: Path, *, node_id: str = "node_1", file_bytes_max: int = 2**26) -> FileStorage:
    return FileStorage(directory, cluster_id="c", node_id=node_id, file_bytes_max=file_bytes_max)


def _entry(index: int, term: int = 1) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"%d" % index)


def _entries(first: int, last: int) -> list[Entry]:
    return [_entry(index) for index in range(first, last + 1)]


def _reopened(directory: Path) -> StoredState:
    storage = _storage(directory)
    state = storage.open()
    storage.close()
    return state


def _names(directory: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in directory.glob(pattern))


@pytest.fixture(params=["files", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return _storage(tmp_path) if request.param == "files" else MemoryStorage()


def test_a_log_goes_on_from_its_base_after_a_restart(storage: Storage) -> None:
    storage.open()
    storage.append(HardState(3, "node_2"), _entries(1, 4))
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(1, 1), None, _entries(2, 4))
    storage.append(None, _entries(5, 5))
    storage.close()
    kept = StoredState(HardState(3, "node_2"), _OF_TWO, LogBase(1, 1), tuple(_entries(2, 5)))
    assert storage.open() == kept
    storage.append(HardState(4), [_entry(4, 4)])
    storage.close()
    state = storage.open()
    assert state.hard_state == HardState(4)
    assert state.entries == (*_entries(2, 3), _entry(4, 4))
    storage.close()


def test_term_and_vote_outlive_the_log_that_held_them(storage: Storage) -> None:
    storage.open()
    storage.append(HardState(7, "node_3"), _entries(1, 2))
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(2, 1), None, [])
    storage.close()
    assert storage.open() == StoredState(HardState(7, "node_3"), _OF_TWO, LogBase(2, 1), ())
    storage.close()


def test_a_log_that_begins_anew_takes_a_new_term_along(storage: Storage) -> None:
    storage.open()
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(2, 1), HardState(9), _entries(3, 3))
    storage.close()
    assert storage.open().hard_state == HardState(9)
    storage.close()


def test_an_older_snapshot_does_not_replace_a_newer_one(storage: Storage) -> None:
    storage.open()
    newer = Snapshot(5, 2, b"", b"newer")
    storage.save_snapshot(newer)
    storage.save_snapshot(_OF_TWO)
    assert storage.read_snapshot() == newer
    storage.close()


def test_without_a_snapshot_the_newest_is_that_of_an_empty_log(storage: Storage) -> None:
    storage.open()
    assert storage.read_snapshot() == Snapshot()
    storage.close()


def test_a_log_that_the_snapshot_was_to_replace_is_gone_after_a_power_cut(storage: Storage) -> None:
    """The snapshot was durable, the new log was not."""
    storage.open()
    storage.append(HardState(2), [_entry(1), _entry(2), _entry(3)])
    storage.save_snapshot(Snapshot(2, 2, b"", b"of another leader"))
    storage.close()
    state = storage.open()
    assert (state.base, state.entries, state.hard_state) == (LogBase(2, 2), (), HardState(2))
    storage.append(None, [_entry(3, 2)])
    storage.close()
    assert storage.open().entries == (_entry(3, 2),)
    storage.close()


def test_a_log_that_goes_on_from_the_snapshot_stays_after_a_power_cut(storage: Storage) -> None:
    storage.open()
    storage.append(HardState(1), _entries(1, 3))
    storage.save_snapshot(_OF_TWO)
    storage.close()
    state = storage.open()
    assert (state.base, state.entries) == (LogBase(), tuple(_entries(1, 3)))
    storage.close()


def test_files_and_snapshots_that_are_obsolete_are_removed(tmp_path: Path) -> None:
    storage = _storage(tmp_path, file_bytes_max=1)
    storage.open()
    for index in range(1, 4):
        storage.append(HardState(1), [_entry(index)])
    assert len(_names(tmp_path, "log-*")) == 3
    storage.save_snapshot(Snapshot(1, 1, b"", b"older"))
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(2, 1), None, _entries(3, 3))
    storage.close()
    assert _names(tmp_path, "log-*") == ["log-0000000000000004.raft"]
    assert _names(tmp_path, "snapshot-*") == ["snapshot-0000000000000002.raft"]
    assert _reopened(tmp_path).entries == tuple(_entries(3, 3))


def test_a_log_may_begin_anew_before_anything_was_written(tmp_path: Path) -> None:
    storage = _storage(tmp_path)
    storage.open()
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(2, 1), None, [])
    storage.append(HardState(1), _entries(3, 3))
    storage.close()
    assert len(_names(tmp_path, "log-*")) == 1
    assert _reopened(tmp_path).entries == tuple(_entries(3, 3))


def test_what_an_interrupted_clean_up_left_is_removed(tmp_path: Path) -> None:
    storage = _storage(tmp_path, file_bytes_max=1)
    storage.open()
    for index in range(1, 4):
        storage.append(HardState(index), [_entry(index)])
    left = {path: path.read_bytes() for path in tmp_path.glob("log-*")}
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(2, 1), None, _entries(3, 3))
    storage.close()
    # The power went before they were all removed, in whatever order the file system did it.
    for path, data in list(left.items())[1:]:
        path.write_bytes(data)
    (tmp_path / "snapshot-0000000000000001.raft").write_bytes(b"an older one")
    (tmp_path / "snapshot-0000000000000009.new").write_bytes(b"half a snapsh")
    assert _reopened(tmp_path) == StoredState(HardState(3), _OF_TWO, LogBase(2, 1), tuple(_entries(3, 3)))
    assert len(_names(tmp_path, "log-*")) == 1
    assert _names(tmp_path, "snapshot-*") == ["snapshot-0000000000000002.raft"]


def _with_snapshot(directory: Path) -> Path:
    storage = _storage(directory)
    storage.open()
    storage.append(HardState(1), _entries(1, 2))
    storage.save_snapshot(_OF_TWO)
    storage.begin_log(LogBase(2, 1), None, [])
    storage.close()
    [path] = directory.glob("snapshot-*.raft")
    return path


@pytest.mark.parametrize("position", [30, -1])
def test_a_damaged_snapshot_keeps_the_node_from_starting(tmp_path: Path, position: int) -> None:
    path = _with_snapshot(tmp_path)
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(LogDamagedError, match="move its data directory away") as caught:
            _reopened(tmp_path)
        assert caught.value.path == str(path)


def test_a_snapshot_that_was_cut_off_keeps_the_node_from_starting(tmp_path: Path) -> None:
    path = _with_snapshot(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LogDamagedError, match="the state in it is broken"):
        _reopened(tmp_path)


def test_a_missing_snapshot_is_damage(tmp_path: Path) -> None:
    _with_snapshot(tmp_path).unlink()
    with pytest.raises(LogDamagedError, match="the snapshot of the entries up to 2 is missing"):
        _reopened(tmp_path)


def test_a_missing_log_beside_a_snapshot_is_damage(tmp_path: Path) -> None:
    """Term and vote would be forgotten."""
    _with_snapshot(tmp_path)
    for path in tmp_path.glob("log-*"):
        path.unlink()
    with pytest.raises(LogDamagedError, match="the log beside the snapshot is missing"):
        _reopened(tmp_path)


def test_a_snapshot_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    path = _with_snapshot(tmp_path)
    header = SnapshotHeader(snapshot_file.VERSION + 1, "c", "node_1", 2, 1, b"")
    path.write_bytes(encode_frame(0, msgspec.msgpack.encode(header)) + encode_frame(1, b"in another way"))
    with pytest.raises(FormatTooNewError, match=r"snapshot-.*\.raft: a Raft snapshot of format 2"):
        _reopened(tmp_path)


def test_a_header_that_says_nothing_known_is_damage(tmp_path: Path) -> None:
    path = _with_snapshot(tmp_path)
    path.write_bytes(encode_frame(0, msgspec.msgpack.encode({"version": 1})) + encode_frame(1, b"state"))
    with pytest.raises(LogDamagedError, match="its header cannot be read"):
        _reopened(tmp_path)


def test_the_snapshot_of_another_node_is_not_used(tmp_path: Path) -> None:
    _with_snapshot(tmp_path)
    for path in tmp_path.glob("log-*"):
        path.unlink()
    with pytest.raises(ConfigError, match="of node_1 in c, not of node_2"):
        _storage(tmp_path, node_id="node_2").open()


def test_a_log_of_the_first_version_is_read(tmp_path: Path) -> None:
    header = {"version": 1, "cluster_id": "c", "node_id": "node_1", "first_sequence": 1}
    record = msgspec.msgpack.encode((5, "node_1", _entries(1, 2)))
    frames = encode_frame(0, msgspec.msgpack.encode(header)) + encode_frame(1, record)
    (tmp_path / "log-0000000000000001.raft").write_bytes(frames)
    state = _reopened(tmp_path)
    assert state == StoredState(HardState(5, "node_1"), Snapshot(), LogBase(), tuple(_entries(1, 2)))


def test_a_torn_record_after_the_log_began_anew_is_cut_off(tmp_path: Path) -> None:
    _with_snapshot(tmp_path)
    storage = _storage(tmp_path)
    storage.open()
    storage.append(HardState(2), _entries(3, 3))
    [path] = tmp_path.glob("log-*")
    kept = len(path.read_bytes().rstrip(b"\0"))
    storage.append(None, _entries(4, 4))
    storage.close()
    data = bytearray(path.read_bytes())
    data[kept + 10 :] = bytes(len(data) - kept - 10)
    path.write_bytes(data)
    assert _reopened(tmp_path) == StoredState(HardState(2), _OF_TWO, LogBase(2, 1), tuple(_entries(3, 3)))


@pytest.fixture
def _file_size_limit() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("_file_size_limit")
def test_a_snapshot_that_does_not_fit_leaves_everything_as_it_was(tmp_path: Path) -> None:
    _with_snapshot(tmp_path)
    storage = _storage(tmp_path)
    storage.open()
    hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard_limit))
    with pytest.raises(StorageFullError):
        storage.save_snapshot(Snapshot(3, 1, b"", bytes(2_000_000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    assert _names(tmp_path, "snapshot-*") == ["snapshot-0000000000000002.raft"]
    storage.save_snapshot(Snapshot(3, 1, b"", bytes(2_000_000)))
    storage.close()
    assert _reopened(tmp_path).snapshot.last_included_index == 3


def test_a_missing_beginning_of_the_log_is_damage(tmp_path: Path) -> None:
    _with_snapshot(tmp_path)
    storage = _storage(tmp_path, file_bytes_max=1)
    storage.open()
    storage.append(None, _entries(3, 3))
    storage.append(None, _entries(4, 4))
    storage.close()
    paths = sorted(tmp_path.glob("log-*"))
    assert len(paths) == 3
    paths[0].unlink()
    with pytest.raises(LogDamagedError, match="it begins with record"):
        _reopened(tmp_path)
