"""Processes on data of a later version: they end, say which file it is and what to do, and change nothing."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db_node.database_machine import COMMAND
from payment.journal import FORMAT, Journal
from tests.formats.samples import DATABASE_COMMANDS
from tests.support.raft_cluster import free_ports
from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.io import log_file
from utils.raft.io.files import OsFiles
from utils.raft.io.log_file import FileHeader, LogFile
from utils.raft.io.storage import FileStorage

END_TIMEOUT_S = 60
LATER = b"\x7f"


def _storage(data_directory: Path) -> FileStorage:
    return FileStorage(data_directory / "raft", cluster_id="db_node", node_id="db-node1")


def a_later_log(data_directory: Path) -> str:
    directory = data_directory / "raft"
    directory.mkdir()
    path = directory / "log-0000000000000001.raft"
    LogFile.create(OsFiles(), path, FileHeader(log_file.VERSION + 1, "db_node", "db-node1", 1)).close()
    return f"{path}: a Raft log of format"


def a_later_snapshot_of_the_machine(data_directory: Path) -> str:
    storage = _storage(data_directory)
    storage.open()
    storage.save_snapshot(Snapshot(1, 1, b"", LATER))
    storage.begin_log(LogBase(1, 1), HardState(1, None), [])
    storage.close()
    return f"the snapshot in {data_directory}: a snapshot of the database of format 127"


def a_later_command_in_the_log(data_directory: Path) -> str:
    commands = [COMMAND.encode(DATABASE_COMMANDS["Seed"]), LATER]
    storage = _storage(data_directory)
    storage.open()
    storage.append(HardState(1), [Entry(n, 1, EntryKind.COMMAND, data) for n, data in enumerate(commands, 1)])
    storage.close()
    return f"entry 2 or a snapshot in {data_directory}: a command of the database of format 127"


@pytest.mark.parametrize("prepare", [a_later_log, a_later_snapshot_of_the_machine, a_later_command_in_the_log])
def test_a_node_of_a_cluster_refuses(tmp_path: Path, prepare: Callable[[Path], str]) -> None:
    told = prepare(tmp_path)
    (port,) = free_ports(1)
    settings = {
        "DB_NODE_ID": "db-node1",
        "DB_PORT": str(port),
        "DB_PEERS": f"db-node1=127.0.0.1:{port}",
        "DB_NODE_COUNT": "1",
    }
    ended = _run("db_node", tmp_path, settings)
    assert told in ended.stderr
    assert "start that one again" in ended.stderr
    assert ended.returncode in {2, 78}


def test_payment_refuses(tmp_path: Path) -> None:
    path = tmp_path / "payment.sqlite"
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    (port,) = free_ports(1)
    ended = _run("payment", tmp_path, {"NODE_ID": "payment-service", "PORT": str(port)})
    assert ended.returncode == 2
    assert f"data: {path}: payment's journal of format {FORMAT + 1} cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr


def _run(service: str, data_directory: Path, settings: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    common = {"BIND_HOST": "127.0.0.1", "DATA_DIR": str(data_directory), "ORDER_EXECUTOR": "127.0.0.1:1"}
    return subprocess.run(
        [sys.executable, "-m", service],
        env={**os.environ, **common, **settings},
        capture_output=True,
        text=True,
        timeout=END_TIMEOUT_S,
        check=False,
    )
