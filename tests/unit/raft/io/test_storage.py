"""The log on disk: what was acknowledged is there after a restart, and what cannot be trusted is not used."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from utils.config import ConfigError
from utils.formats import FormatTooNewError
from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.errors import LogDamagedError
from utils.raft.io import log_file
from utils.raft.io.files import OsFiles
from utils.raft.io.log_file import FileHeader, LogFile, StorageFullError
from utils.raft.io.memory import MemoryStorage
from utils.raft.io.storage import FileStorage, Storage, StoredState


def _storage(
    directory: Path, *, node_id: str = "node_1", cluster_id: str = "c", file_bytes_max: int = 2**26
) -> FileStorage:
    return FileStorage(directory, cluster_id=cluster_id, node_id=node_id, file_bytes_max=file_bytes_max)


def _entry(index: int, term: int = 1, data: bytes = b"data") -> Entry:
    return Entry(index, term, EntryKind.COMMAND, data)


def _reopened(directory: Path) -> StoredState:
    storage = _storage(directory)
    state = storage.open()
    storage.close()
    return state


def _only_file(directory: Path) -> Path:
    (path,) = directory.glob("log-*.raft")
    return path


@pytest.fixture(params=["files", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return _storage(tmp_path) if request.param == "files" else MemoryStorage()


def test_an_empty_directory_is_a_node_that_has_done_nothing(storage: Storage) -> None:
    assert storage.open() == StoredState(HardState(), Snapshot(), LogBase(), ())
    storage.close()


def test_term_vote_and_entries_are_there_after_a_restart(storage: Storage) -> None:
    storage.open()
    storage.append(HardState(3, "node_2"), [_entry(1), _entry(2)])
    storage.append(None, [_entry(3, 3)])
    storage.close()
    assert storage.open() == StoredState(
        HardState(3, "node_2"), Snapshot(), LogBase(), (_entry(1), _entry(2), _entry(3, 3))
    )
    storage.append(HardState(4), [])
    storage.close()
    assert storage.open().hard_state == HardState(4, None)
    storage.close()


def test_an_entry_replaces_those_from_its_index_on(storage: Storage) -> None:
    storage.open()
    storage.append(HardState(1), [_entry(1), _entry(2), _entry(3)])
    storage.append(HardState(2), [_entry(2, 2)])
    # Also within one write: two Readies that were written together.
    storage.append(None, [_entry(3, 2), _entry(4, 2), _entry(3, 3)])
    storage.close()
    assert storage.open().entries == (_entry(1), _entry(2, 2), _entry(3, 3))
    storage.close()


def test_a_large_log_is_kept_in_several_files(tmp_path: Path) -> None:
    storage = _storage(tmp_path, file_bytes_max=2_000)
    storage.open()
    for index in range(1, 101):
        storage.append(HardState(index, "node_1"), [_entry(index, index, bytes(100))])
    storage.close()
    assert len(list(tmp_path.glob("log-*.raft"))) > 3
    state = _reopened(tmp_path)
    assert state.hard_state == HardState(100, "node_1")
    assert [entry.index for entry in state.entries] == list(range(1, 101))


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    test_a_large_log_is_kept_in_several_files(tmp_path)
    sorted(tmp_path.glob("log-*.raft"))[1].unlink()
    with pytest.raises(LogDamagedError, match="begins with record"):
        _reopened(tmp_path)


def test_a_broken_end_of_an_older_file_is_damage(tmp_path: Path) -> None:
    test_a_large_log_is_kept_in_several_files(tmp_path)
    first = min(tmp_path.glob("log-*.raft"))
    data = bytearray(first.read_bytes())
    data[len(data.rstrip(b"\0")) - 1] ^= 1
    first.write_bytes(data)
    with pytest.raises(LogDamagedError, match="another file follows"):
        _reopened(tmp_path)


def test_a_torn_last_record_is_cut_off_and_the_log_goes_on(tmp_path: Path) -> None:
    storage = _storage(tmp_path)
    storage.open()
    storage.append(HardState(1, "node_1"), [_entry(1)])
    kept = _only_file(tmp_path).read_bytes()
    storage.append(None, [_entry(2, data=bytes(range(1, 200)))])
    storage.close()
    path = _only_file(tmp_path)
    end = len(kept.rstrip(b"\0"))
    data = bytearray(path.read_bytes())
    data[end + 100 : end + 140] = bytes(40)
    path.write_bytes(data)

    storage = _storage(tmp_path)
    assert storage.open().entries == (_entry(1),)
    storage.append(None, [_entry(2, 2, b"another")])
    storage.close()
    assert _reopened(tmp_path).entries == (_entry(1), _entry(2, 2, b"another"))


def test_a_flipped_bit_keeps_the_node_from_starting(tmp_path: Path) -> None:
    storage = _storage(tmp_path)
    storage.open()
    storage.append(HardState(1), [_entry(1)])
    storage.append(None, [_entry(2)])
    storage.close()
    path = _only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"data")] ^= 4
    path.write_bytes(data)
    for _ in range(2):  # the lock is free again, and nothing was repaired on the way
        with pytest.raises(LogDamagedError) as caught:
            _reopened(tmp_path)
        assert caught.value.path == str(path)


def test_a_broken_header_keeps_the_node_from_starting(tmp_path: Path) -> None:
    _reopened(tmp_path)
    path = _only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogDamagedError, match="header"):
        _reopened(tmp_path)


def test_a_file_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    header = FileHeader(log_file.VERSION + 1, "c", "node_1", 1)
    LogFile.create(OsFiles(), tmp_path / "log-1.raft", header).close()
    with pytest.raises(FormatTooNewError, match=r"log-1\.raft: a Raft log of format 3 .* start that one again"):
        _reopened(tmp_path)


def test_a_file_that_was_never_finished_is_forgotten(tmp_path: Path) -> None:
    _reopened(tmp_path)
    unfinished = tmp_path / "log-0000000000000007.new"
    unfinished.write_bytes(b"half a header")
    _reopened(tmp_path)
    assert not unfinished.exists()


@pytest.mark.parametrize("changed", [{"node_id": "node_2"}, {"cluster_id": "other"}])
def test_the_log_of_another_node_is_not_used(tmp_path: Path, changed: dict[str, str]) -> None:
    _reopened(tmp_path)
    with pytest.raises(ConfigError, match="is the log of node_1 in c"):
        _storage(tmp_path, **changed).open()  # type: ignore[arg-type]


def test_two_processes_do_not_write_one_log(tmp_path: Path) -> None:
    first = _storage(tmp_path)
    first.open()
    with pytest.raises(ConfigError, match="in use"):
        _storage(tmp_path).open()
    first.close()
    _reopened(tmp_path)


@pytest.fixture
def _file_size_limit() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("_file_size_limit")
def test_what_did_not_fit_can_be_written_when_there_is_space(tmp_path: Path) -> None:
    storage = _storage(tmp_path)
    storage.open()
    storage.append(HardState(1), [_entry(1)])
    hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard_limit))
    big = _entry(2, data=bytes(2_000_000))
    for _ in range(2):
        with pytest.raises(StorageFullError):
            storage.append(HardState(2, "node_3"), [big])
    # What fits into space that is there already is still written.
    storage.append(HardState(2, "node_1"), [_entry(2)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    storage.append(None, [_entry(3, data=bytes(2_000_000))])
    storage.close()
    state = _reopened(tmp_path)
    assert state.hard_state == HardState(2, "node_1")
    assert [(entry.index, len(entry.data)) for entry in state.entries] == [(1, 4), (2, 4), (3, 2_000_000)]
