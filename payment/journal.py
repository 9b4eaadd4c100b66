"""Payment's durable memory: one SQLite database with one row per order.

Write-ahead logging with `synchronous=FULL`: a transaction that has returned survives a power cut, and a torn last one
is as if it had never been. Blocking: `DurableLedger` calls it from a thread of its own.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from payment.ledger import LedgerEntry

# The user_version of the schema below.
_FORMAT = 1
_SCHEMA = """
BEGIN;
CREATE TABLE orders (order_id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE finished (below INTEGER NOT NULL);
INSERT INTO finished VALUES (0);
PRAGMA user_version = 1;
COMMIT;
"""


class JournalDamagedError(Exception):
    """The file holds something else than what was written. Payment must not start with it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why}); payment does not start with it: restore it from a backup")
        self.path = path


class JournalFullError(Exception):
    """The disk is full; nothing of the batch was written."""


class Journal:
    """Owns its file alone: a second process that opens it fails. Raises JournalDamagedError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoder = msgspec.msgpack.Encoder()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._check()
        except BaseException as error:
            self._connection.close()
            # An OperationalError is about the disk or another process, not about what the file holds.
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise JournalDamagedError(path, str(error)) from error
            raise

    def load(self) -> tuple[list[LedgerEntry], int]:
        """Every order's entry, and below which position of the queue's log all orders are finished."""
        try:
            rows = self._connection.execute("SELECT entry FROM orders").fetchall()
            entries = [msgspec.msgpack.decode(entry, type=LedgerEntry) for (entry,) in rows]
            ((finished_below,),) = self._connection.execute("SELECT below FROM finished").fetchall()
        except (msgspec.DecodeError, ValueError) as error:
            raise JournalDamagedError(self._path, str(error)) from error
        return entries, finished_below

    def write(self, entries: Iterable[LedgerEntry], finished_below: int) -> None:
        """All of it or nothing, durable on return. Raises JournalFullError, and sqlite3.Error for a failing disk."""
        rows = [(entry.record.attempt.order_id, self._encoder.encode(entry)) for entry in entries]
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?)", rows)
            execute("UPDATE finished SET below = ? WHERE below < ?", (finished_below, finished_below))
            execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise JournalFullError(str(error)) from error

    def close(self) -> None:
        self._connection.close()

    def _check(self) -> None:
        ((version,),) = self._connection.execute("PRAGMA user_version").fetchall()
        if version == 0:
            self._connection.executescript(_SCHEMA)
            # SQLite syncs the directory for its log, not for the file that it has just made.
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        elif version != _FORMAT:
            raise JournalDamagedError(self._path, f"its format is {version}, not {_FORMAT}")
        ((verdict,), *_) = self._connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise JournalDamagedError(self._path, verdict)
