"""Small wrong changes to what lies on the disk, and when. See planting.py."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.disk import SimulatedFile, SimulatedFiles
from tests.simulation.planting import PlantedBug
from utils.raft.core.messages import Entry, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.io import frames, log_file, snapshot_file, storage as storage_module
from utils.raft.io.files import Files
from utils.raft.io.frames import Frame, Scan
from utils.raft.io.log_file import LogFile
from utils.raft.io.storage import FileStorage, StoredState

_CUTS = "tests/simulation/test_power_cuts.py::test_"
_EVERY_POINT = f"{_CUTS}what_was_promised_is_there_after_a_power_cut_at_any_point"
_STORAGE = "tests/unit/raft/io/test_storage.py::test_"
_SNAPSHOTS = "tests/unit/raft/io/test_snapshot_files.py::test_"


def never_syncs_a_record(patch: pytest.MonkeyPatch) -> None:
    """A vote, or an entry that was acknowledged, is gone after a power cut: a second vote, a lost commit."""
    patch.setattr(SimulatedFile, "sync_data", lambda _: None)


def syncs_the_vote_only_with_the_next_entries(patch: pytest.MonkeyPatch) -> None:
    """A second vote in the same term after a power cut."""
    append = FileStorage.append

    def lazy(self: FileStorage, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        if entries:
            append(self, hard_state, entries)
        elif hard_state is not None:
            self._hard_state = hard_state

    patch.setattr(FileStorage, "append", lazy)


def never_syncs_names(patch: pytest.MonkeyPatch) -> None:
    """A file that was begun, and all in it, is gone after a power cut."""
    patch.setattr(SimulatedFiles, "sync_directory", lambda *_: None)


def trusts_the_names_that_a_dead_process_left(patch: pytest.MonkeyPatch) -> None:
    """They were not durable yet: what is written after the restart goes with the next power cut."""
    original = FileStorage._read

    def read(self: FileStorage) -> StoredState:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self._files, "sync_directory", lambda _: None)
            return original(self)

    patch.setattr(FileStorage, "_read", read)


def names_a_snapshot_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that is there by name and not in content, and the log is gone."""

    def write(files: Files, path: Path, snapshot: Snapshot, *, cluster_id: str, node_id: str) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(SimulatedFile, "sync", lambda _: None)
            original(files, path, snapshot, cluster_id=cluster_id, node_id=node_id)

    original = snapshot_file.write_snapshot
    patch.setattr(storage_module, "write_snapshot", write)


def writes_a_snapshot_in_place(patch: pytest.MonkeyPatch) -> None:
    """Half a snapshot, after a power cut, keeps the node from starting."""
    patch.setattr(Path, "with_suffix", lambda path, suffix: path if "snapshot" in path.name else _renamed(path, suffix))


def removes_the_old_log_before_the_new_one_is_there(patch: pytest.MonkeyPatch) -> None:
    """Wrong order of removal: a power cut in between, and term, vote and log are gone."""

    def begin_log(self: FileStorage, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        obsolete = self._paths()
        self._unlink(obsolete)
        self._files.sync_directory(self._directory)
        original(self, base, hard_state, entries)

    original = FileStorage.begin_log
    patch.setattr(FileStorage, "begin_log", begin_log)


def removes_the_old_snapshot_before_the_new_one_is_there(patch: pytest.MonkeyPatch) -> None:
    """Wrong order of removal: a power cut in between, and the state is gone, with the log that it covered."""

    def save(self: FileStorage, snapshot: Snapshot) -> None:
        self._unlink(self._snapshot_paths())
        self._files.sync_directory(self._directory)
        original(self, snapshot)

    original = FileStorage.save_snapshot
    patch.setattr(FileStorage, "save_snapshot", save)


def accepts_a_torn_record(patch: pytest.MonkeyPatch) -> None:
    """Half a write is taken for a whole one."""

    def read_frame(data: bytes, position: int) -> Frame | None:
        if position + frames.HEADER_BYTES > len(data):
            return None
        magic, length, sequence, _, _ = frames._HEADER.unpack_from(data, position)
        end = position + frames.HEADER_BYTES + length
        whole = magic == b"RAFT" and end <= len(data)
        return Frame(sequence, data[position + frames.HEADER_BYTES : end], end) if whole else None

    patch.setattr(frames, "read_frame", read_frame)


def takes_damage_for_a_torn_record(patch: pytest.MonkeyPatch) -> None:
    """What was acknowledged behind a flipped bit is cut off in silence."""

    def scan(path: str, data: bytes, start: int, first_sequence: int) -> Scan:
        del path
        found: list[Frame] = []
        position = start
        while (frame := frames.read_frame(data, position)) is not None and frame.sequence == first_sequence + len(
            found
        ):
            found.append(frame)
            position = frame.end
        return Scan(tuple(found), position, len(data) - position)

    patch.setattr(log_file, "scan", scan)


def cuts_the_end_of_any_file(patch: pytest.MonkeyPatch) -> None:
    """A broken end of an older file, behind which acknowledged records follow, is no torn write."""
    original = LogFile.open.__func__  # type: ignore[attr-defined]

    def open_as_last(cls: type[LogFile], /, files: Files, path: Path, *, is_last: bool, **options: Any) -> Any:
        del is_last
        return original(cls, files, path, is_last=True, **options)

    patch.setattr(LogFile, "open", classmethod(open_as_last))


def forgets_term_and_vote_when_the_log_begins_anew(patch: pytest.MonkeyPatch) -> None:
    """A second vote in the same term, after a compaction."""
    original = FileStorage.begin_log

    def begin_log(self: FileStorage, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        original(self, base, hard_state or HardState(), entries)

    patch.setattr(FileStorage, "begin_log", begin_log)


def lets_an_older_snapshot_replace_a_newer_one(patch: pytest.MonkeyPatch) -> None:
    """The log no longer reaches back to it."""
    original = FileStorage.save_snapshot

    def save(self: FileStorage, snapshot: Snapshot) -> None:
        self._unlink(self._snapshot_paths())
        self._snapshot_index = 0
        original(self, snapshot)

    patch.setattr(FileStorage, "save_snapshot", save)


def keeps_entries_that_were_replaced(patch: pytest.MonkeyPatch) -> None:
    """After a restart the entries of a deposed leader are back."""

    decode = storage_module._decode
    last_index = 0

    def decode_without_replacing(payload: bytes) -> storage_module.Record:
        nonlocal last_index
        record = decode(payload)
        kept = [entry for entry in record.entries if entry.index > last_index]
        last_index = max([last_index, *(entry.index for entry in kept)])
        return storage_module.Record(record.current_term, record.voted_for, kept)

    patch.setattr(storage_module, "_decode", decode_without_replacing)


def reads_the_log_of_another_node(patch: pytest.MonkeyPatch) -> None:
    """A mistake in the configuration: two nodes with one memory, and one vote each."""
    patch.setattr(FileStorage, "_check_owner", lambda *_: None)


def counts_what_did_not_fit_as_written(patch: pytest.MonkeyPatch) -> None:
    """After a full disk the numbers of the records have a gap, and the log cannot be read."""

    def append(self: LogFile, payload: bytes) -> None:
        self.sequence += 1
        self._write(frames.encode_frame(self.sequence - 1, payload))

    patch.setattr(LogFile, "append", append)


def _renamed(path: Path, suffix: str) -> Path:
    return path.parent / re.sub(r"\.raft$", suffix, path.name)


BUGS = (
    PlantedBug(never_syncs_a_record, f"{_EVERY_POINT}[vote]"),
    PlantedBug(syncs_the_vote_only_with_the_next_entries, f"{_EVERY_POINT}[vote]"),
    PlantedBug(never_syncs_names, f"{_EVERY_POINT}[begin_another_file]"),
    PlantedBug(
        trusts_the_names_that_a_dead_process_left,
        f"{_CUTS}a_log_that_was_begun_and_read_by_a_process_outlives_the_next_power_cut",
    ),
    PlantedBug(names_a_snapshot_before_it_is_durable, f"{_EVERY_POINT}[compact]"),
    PlantedBug(writes_a_snapshot_in_place, f"{_EVERY_POINT}[save_a_snapshot]"),
    PlantedBug(removes_the_old_log_before_the_new_one_is_there, f"{_EVERY_POINT}[compact]"),
    PlantedBug(removes_the_old_snapshot_before_the_new_one_is_there, f"{_EVERY_POINT}[save_another_snapshot]"),
    PlantedBug(accepts_a_torn_record, f"{_STORAGE}a_torn_last_record_is_cut_off_and_the_log_goes_on"),
    PlantedBug(takes_damage_for_a_torn_record, f"{_STORAGE}a_flipped_bit_keeps_the_node_from_starting"),
    PlantedBug(cuts_the_end_of_any_file, f"{_STORAGE}a_broken_end_of_an_older_file_is_damage"),
    PlantedBug(
        forgets_term_and_vote_when_the_log_begins_anew, f"{_SNAPSHOTS}term_and_vote_outlive_the_log_that_held_them"
    ),
    PlantedBug(
        lets_an_older_snapshot_replace_a_newer_one, f"{_SNAPSHOTS}an_older_snapshot_does_not_replace_a_newer_one"
    ),
    PlantedBug(keeps_entries_that_were_replaced, f"{_STORAGE}an_entry_replaces_those_from_its_index_on"),
    PlantedBug(reads_the_log_of_another_node, f"{_STORAGE}the_log_of_another_node_is_not_used"),
    PlantedBug(counts_what_did_not_fit_as_written, f"{_CUTS}what_did_not_fit_leaves_no_gap_in_the_log"),
)
