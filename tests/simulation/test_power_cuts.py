"""The storage through power cuts: at every point of every step, whatever becomes of what was not synced."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.disk import SimulatedFiles
from tests.simulation.durable import Witness, WitnessedStorage
from tests.simulation.loop import PowerCut
from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.errors import LogDamagedError
from utils.raft.io.log_file import StorageFullError
from utils.raft.io.storage import FileStorage, Storage, StoredState

_DISKS_PER_POINT = 40


class CountedFiles(SimulatedFiles):
    """The power fails at the point of this number, counted from when it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.points_left: int | None = None

    def point(self, label: str) -> None:
        if self.points_left is not None:
            if self.points_left == 0:
                raise PowerCut(label)
            self.points_left -= 1


def _entry(index: int, term: int = 1) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"%d of %d " % (index, term) * 20)


def _storage(files: SimulatedFiles, witness: Witness) -> WitnessedStorage:
    directory = Path("/raft")
    storage = FileStorage(directory, cluster_id="c", node_id="n", file_bytes_max=1_000, space_bytes=300, files=files)
    return WitnessedStorage(storage, witness)


def _recover(files: SimulatedFiles, witness: Witness) -> StoredState:
    """What the witness agrees with; a power cut is never taken for damage."""
    try:
        return _storage(files, witness).open()
    except LogDamagedError as error:
        raise AssertionError(f"a power cut is taken for damage: {error}") from error


def _vote(storage: Storage) -> None:
    storage.append(HardState(2, "another"), [])


def _append(storage: Storage) -> None:
    storage.append(None, [_entry(5), _entry(6)])


def _replace(storage: Storage) -> None:
    storage.append(HardState(2), [_entry(3, 2)])


def _begin_another_file(storage: Storage) -> None:
    for index in range(5, 12):
        storage.append(None, [_entry(index)])


def _save_a_snapshot(storage: Storage) -> None:
    storage.save_snapshot(Snapshot(3, 1, b"", b"state of three" * 30))


def _save_another_snapshot(storage: Storage) -> None:
    _save_a_snapshot(storage)
    storage.begin_log(LogBase(3, 1), None, [_entry(4)])
    storage.save_snapshot(Snapshot(4, 1, b"", b"state of four" * 30))


def _compact(storage: Storage) -> None:
    _begin_another_file(storage)
    _save_a_snapshot(storage)
    storage.begin_log(LogBase(2, 1), HardState(3, "n"), [_entry(index) for index in range(3, 12)])
    storage.append(None, [_entry(12)])


def _install(storage: Storage) -> None:
    """A leader's snapshot that contradicts the log."""
    storage.save_snapshot(Snapshot(4, 2, b"", b"state of another four"))
    storage.begin_log(LogBase(4, 2), HardState(2), [])
    storage.append(None, [_entry(5, 2)])


_STEPS: tuple[Callable[[Storage], None], ...] = (
    _vote,
    _append,
    _replace,
    _begin_another_file,
    _save_a_snapshot,
    _save_another_snapshot,
    _compact,
    _install,
)


def _crash_at(point: int, step: Callable[[Storage], None], rng: random.Random) -> bool:
    """Whether the step came so far. The witness judges what is read after it, and once more after a restart."""
    files, witness = CountedFiles(), Witness("n", lambda _: 0)
    storage = _storage(files, witness)
    storage.open()
    storage.append(HardState(1, "n"), [_entry(index) for index in range(1, 5)])
    files.points_left = point
    is_cut = False
    try:
        step(storage)
    except PowerCut:
        is_cut = True
    files.points_left = None
    files.cut_power(rng)
    _recover(files, witness)
    # What it did to read is not undone by the next cut, wherever that comes.
    files.cut_power(rng)
    state = _recover(files, witness)
    assert is_cut or state.hard_state.current_term >= 1
    return is_cut


@pytest.mark.parametrize("step", _STEPS, ids=lambda step: step.__name__.strip("_"))
def test_what_was_promised_is_there_after_a_power_cut_at_any_point(step: Callable[[Storage], None]) -> None:
    point, is_cut = 0, True
    while is_cut:
        for disk in range(_DISKS_PER_POINT):
            is_cut = _crash_at(point, step, random.Random(f"{point} {disk}"))
        point += 1
    assert point > 1, "the step has no points at which the power could fail"


def test_a_log_that_was_begun_and_read_by_a_process_outlives_the_next_power_cut() -> None:
    """The process dies between giving the new file its name and making the name durable; the next one relies on it."""
    for disk in range(_DISKS_PER_POINT):
        for point in range(30):
            files, witness = CountedFiles(), Witness("n", lambda _: 0)
            storage = _storage(files, witness)
            storage.open()
            storage.append(HardState(1, "n"), [_entry(index) for index in range(1, 5)])
            files.points_left = point
            try:
                _compact(storage)
            except PowerCut:
                files.points_left = None
                files.kill()
                restarted = _storage(files, witness)
                state = restarted.open()
                restarted.append(HardState(9), [_entry(_last_index(state) + 1, 9)])
                files.cut_power(random.Random(f"{point} {disk}"))
                _recover(files, witness)


def test_what_did_not_fit_leaves_no_gap_in_the_log() -> None:
    files, witness = SimulatedFiles(), Witness("n", lambda _: 0)
    storage = _storage(files, witness)
    storage.open()
    storage.append(HardState(1, "n"), [_entry(1)])
    files.is_full = True
    for _ in range(3):
        with pytest.raises(StorageFullError):
            storage.append(None, [_entry(index) for index in range(2, 6)])
    files.is_full = False
    storage.append(None, [_entry(2)])
    files.cut_power(random.Random(1))
    assert _recover(files, witness).entries == (_entry(1), _entry(2))


def _last_index(state: StoredState) -> int:
    return state.base.index + len(state.entries)
