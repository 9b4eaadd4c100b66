"""What this program writes of the samples, by the name that its golden file has: format and version."""

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import psycopg

from db_node.database_machine import COMMAND, SNAPSHOT as DATABASE_SNAPSHOT, DatabaseMachine
from order_queue import record_store
from order_queue.commands import FORMAT as QUEUE_COMMAND
from order_queue.order_heap import OrderHeap
from order_queue.order_record import OrderRecord
from order_queue.queue_machine import SNAPSHOT as QUEUE_SNAPSHOT, QueueMachine
from payment import journal
from suggestions import book_store
from tests.formats import samples
from utils.formats import Format
from utils.raft.core.messages import LogBase
from utils.raft.io import log_file, snapshot_file
from utils.raft.io.files import OsFiles
from utils.raft.io.log_file import FileHeader, LogFile
from utils.raft.io.snapshot_file import write_snapshot
from utils.raft.io.storage import Record
from utils.two_phase_commit.decision_log import (
    COMMANDS as DECISION_COMMANDS,
    SNAPSHOT as DECISION_SNAPSHOT,
    DecisionLog,
)

GOLDEN: Final = Path(__file__).with_name("golden")
CLUSTER_ID, NODE_ID = "order_queue", "node_1"
_FILES: Final = OsFiles()


class Machine(Protocol):
    def apply(self, index: int, command: bytes) -> Any: ...
    def snapshot(self) -> bytes: ...
    def restore(self, snapshot: bytes) -> None: ...


def queue_machine() -> QueueMachine:
    return QueueMachine(OrderHeap(threading.Lock(), ageing=0))


# By the name of their golden files: how commands are kept, what they mean, and the machine that applies them.
COMMANDS: Final[dict[str, tuple[Format[Any], Mapping[str, Any]]]] = {
    "order_queue": (QUEUE_COMMAND, samples.QUEUE_COMMANDS),
    "database": (COMMAND, samples.DATABASE_COMMANDS),
    "decision_log": (DECISION_COMMANDS, {name: (one,) for name, one in samples.DECISION_COMMANDS.items()}),
}
MACHINES: Final[dict[str, tuple[Format[Any], type[Machine] | Any]]] = {
    "order_queue": (QUEUE_SNAPSHOT, queue_machine),
    "database": (DATABASE_SNAPSHOT, DatabaseMachine),
    "decision_log": (DECISION_SNAPSHOT, DecisionLog),
}
STEPS: Final = {"order_records": record_store.STEPS, "books": book_store.STEPS}


def applied(name: str, commands: Iterable[bytes]) -> Machine:
    """A machine that has applied the commands as the first entries of its log."""
    machine: Machine = MACHINES[name][1]()
    for index, command in enumerate(commands, 1):
        machine.apply(index, command)
    return machine


def raft_files(directory: Path) -> tuple[Path, Path]:
    """A log, with a base and two records, and the snapshot before it."""
    snapshot, log = directory / "snapshot-0000000000000002.raft", directory / "log-0000000000000003.raft"
    write_snapshot(_FILES, snapshot, samples.RAFT_SNAPSHOT, cluster_id=CLUSTER_ID, node_id=NODE_ID)
    header = FileHeader(log_file.VERSION, CLUSTER_ID, NODE_ID, first_sequence=3, base=LogBase(2, 1))
    state = samples.RAFT_HARD_STATE
    first = Record(state.current_term - 1, None, ())
    records = [first, Record(state.current_term, state.voted_for, samples.RAFT_ENTRIES[2:])]
    LogFile.create(_FILES, log, header, [msgspec.msgpack.encode(record) for record in records], space_bytes=16).close()
    return log, snapshot


def payment_journal(directory: Path) -> str:
    """The statements that make the same database."""
    path = directory / "payment.sqlite"
    opened = journal.Journal(path)
    opened.write(samples.LEDGER_ENTRIES, samples.FINISHED_BELOW)
    opened.close()
    connection = sqlite3.connect(path)
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    statements = [*connection.iterdump(), f"PRAGMA user_version = {version};", ""]
    connection.close()
    return "\n".join(statements)


def written(directory: Path) -> dict[str, bytes]:
    """Every golden file of the present versions; `directory` is for files on the way."""
    log, snapshot = raft_files(directory)
    made = {
        f"raft_log-{log_file.VERSION}.raft": log.read_bytes(),
        f"raft_snapshot-{snapshot_file.VERSION}.raft": snapshot.read_bytes(),
        f"payment_journal-{journal.FORMAT}.sql": payment_journal(directory).encode(),
    }
    for name, (kept, commands) in COMMANDS.items():
        encoded = {sample: kept.encode(command) for sample, command in commands.items()}
        made[f"{name}_commands-{kept.version}.json"] = _json(encoded)
        state = {f"after {len(encoded)} samples": applied(name, encoded.values()).snapshot()}
        made[f"{name}_snapshot-{MACHINES[name][0].version}.json"] = _json(state)
    for name, steps in STEPS.items():
        made |= {f"{name}-{number}.sql": step for number, step in enumerate(steps, 1)}
    return made


def ended_orders() -> list[OrderRecord]:
    """An order that was approved, and one that verification rejected."""
    machine = queue_machine()
    for index, name in enumerate(("Enqueue", "RecordRejection", "Complete"), 1):
        machine.apply(index, QUEUE_COMMAND.encode(samples.QUEUE_COMMANDS[name]))
    return machine.first_unrecorded(2)


async def written_rows(dsn: str) -> dict[str, bytes]:
    """The golden file of the order records' table, from an empty PostgreSQL."""
    store = record_store.RecordStore(dsn)
    await store.write(ended_orders())
    await store.close()
    connection = await psycopg.AsyncConnection.connect(dsn, options="-c timezone=UTC")
    async with connection:
        query = "SELECT to_jsonb(r) - 'recorded_at' FROM order_records r ORDER BY order_id"
        rows = [row for (row,) in await (await connection.execute(query)).fetchall()]
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    return {f"order_records-{len(record_store.STEPS)}.json": text.encode()}


def read(path: Path) -> dict[str, bytes]:
    """What a golden file of commands or snapshots holds, by the sample's name."""
    return {name: bytes.fromhex(data) for name, data in json.loads(path.read_text()).items()}


def _json(encoded: Mapping[str, bytes]) -> bytes:
    return (json.dumps({name: data.hex() for name, data in encoded.items()}, indent=1) + "\n").encode()
