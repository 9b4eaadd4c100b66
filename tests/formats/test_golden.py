"""What any version has written is read for ever, and what this one writes changes only together with its version."""

import sqlite3
import typing
from pathlib import Path

import pytest

from db_node.commands import Command as DatabaseCommand
from order_queue.commands import Command as QueueCommand
from payment.journal import Journal
from tests.formats import samples
from tests.formats.written import CLUSTER_ID, COMMANDS, GOLDEN, MACHINES, NODE_ID, applied, read, written
from utils.formats import FormatTooNewError
from utils.raft.core.messages import LogBase, Snapshot
from utils.raft.io.files import OsFiles
from utils.raft.io.snapshot_file import read_snapshot
from utils.raft.io.storage import FileStorage, StoredState
from utils.two_phase_commit.decision_log import Command as DecisionCommand


def golden(pattern: str) -> list[Path]:
    paths = sorted(GOLDEN.glob(pattern))
    assert paths, pattern
    return paths


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_what_is_written_now_is_the_golden_file_of_its_version(tmp_path: Path) -> None:
    for name, data in written(tmp_path).items():
        path = GOLDEN / name
        assert path.exists(), f"a new version needs its golden file: make golden writes {name}"
        assert path.read_bytes() == data, f"{name} is another format than before: it needs the next version"


def test_every_kind_of_command_has_a_sample() -> None:
    for kinds, sampled in (
        (QueueCommand, samples.QUEUE_COMMANDS.values()),
        (DatabaseCommand, samples.DATABASE_COMMANDS.values()),
        (DecisionCommand, samples.DECISION_COMMANDS.values()),
    ):
        assert {type(command) for command in sampled} == set(typing.get_args(kinds))


_COMMANDS = golden("*_commands-*.json")
_SNAPSHOTS = golden("*_snapshot-*.json")


@pytest.mark.parametrize("path", _COMMANDS, ids=names(_COMMANDS))
def test_commands_of_every_version_mean_what_they_meant(path: Path) -> None:
    name = path.name.partition("_commands")[0]
    kept, meant = COMMANDS[name]
    assert {sample: kept.decode(data) for sample, data in read(path).items()} == {
        sample: meant[sample] for sample in read(path)
    }


@pytest.mark.parametrize("path", _SNAPSHOTS, ids=names(_SNAPSHOTS))
def test_snapshots_of_every_version_are_what_their_commands_lead_to_now(path: Path) -> None:
    """Or nodes that were upgraded, and those that are not yet, would part."""
    name = path.name.partition("_snapshot")[0]
    kept, commands = COMMANDS[name]
    for counted, state in read(path).items():
        encoded = [kept.encode(command) for command in commands.values()][: int(counted.split()[1])]
        machine = MACHINES[name][1]()
        machine.restore(state)
        assert machine.snapshot() == applied(name, encoded).snapshot()


@pytest.mark.parametrize("name", COMMANDS)
def test_later_commands_and_snapshots_are_refused_and_change_nothing(name: str) -> None:
    kept, commands = COMMANDS[name]
    machine = applied(name, map(kept.encode, commands.values()))
    before = machine.snapshot()
    with pytest.raises(FormatTooNewError, match=f"{kept.what} of format {kept.version + 1} cannot be read"):
        machine.apply(99, bytes((kept.version + 1,)) + kept.encode(next(iter(commands.values())))[1:])
    with pytest.raises(FormatTooNewError, match=r"start that one again \(docs/formats.md\)"):
        machine.restore(bytes((MACHINES[name][0].version + 1,)) + before[1:])
    assert machine.snapshot() == before


@pytest.mark.parametrize("path", golden("raft_log-*.raft"), ids=names(golden("raft_log-*.raft")))
def test_raft_logs_of_every_version_are_read(path: Path, tmp_path: Path) -> None:
    begins_anew = path.stem != "raft_log-1"
    (tmp_path / ("log-0000000000000003.raft" if begins_anew else "log-0000000000000001.raft")).write_bytes(
        path.read_bytes()
    )
    if begins_anew:
        snapshot = (GOLDEN / "raft_snapshot-1.raft").read_bytes()
        (tmp_path / "snapshot-0000000000000002.raft").write_bytes(snapshot)
    storage = FileStorage(tmp_path, cluster_id=CLUSTER_ID, node_id=NODE_ID)
    state = storage.open()
    storage.close()
    assert state == StoredState(
        samples.RAFT_HARD_STATE,
        samples.RAFT_SNAPSHOT if begins_anew else Snapshot(),
        LogBase(2, 1) if begins_anew else LogBase(),
        samples.RAFT_ENTRIES[2:] if begins_anew else samples.RAFT_ENTRIES,
    )


@pytest.mark.parametrize("path", golden("raft_snapshot-*.raft"), ids=names(golden("raft_snapshot-*.raft")))
def test_raft_snapshots_of_every_version_are_read(path: Path) -> None:
    assert read_snapshot(OsFiles(), path)[1] == samples.RAFT_SNAPSHOT


@pytest.mark.parametrize("path", golden("payment_journal-*.sql"), ids=names(golden("payment_journal-*.sql")))
def test_payments_journals_of_every_version_are_read(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "payment.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript(path.read_text())
    connection.close()
    journal = Journal(file)
    entries, finished_below = journal.load()
    captures = [order_id for order_id, _ in journal.captures("", 10)]
    journal.close()
    assert len(entries) >= 3
    meant = samples.LEDGER_ENTRIES[: len(entries)]
    assert sorted(entries, key=lambda entry: entry.record.attempt) == sorted(
        meant, key=lambda entry: entry.record.attempt
    )
    assert finished_below == samples.FINISHED_BELOW
    captured = [entry for entry in meant if entry.payment is not None and entry.payment.was_captured]
    assert captures == [entry.record.attempt.order_id for entry in captured]
