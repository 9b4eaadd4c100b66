"""Payment's durable memory: one SQLite database with one row per order, which is never deleted.

Write-ahead logging with `synchronous=FULL`: a transaction that has returned survives a power cut, and a torn last one
is as if it had never been. Blocking: `DurableLedger` calls it from a thread of its own.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from payment.ledger import LedgerEntry, Payment
from utils.formats import FormatTooNewError

# The user_version of the schema: that of the last of these steps, of which each begins where the one before it ends.
_SCHEMA = (
    """
    CREATE TABLE orders (order_id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE finished (below INTEGER NOT NULL);
    INSERT INTO finished VALUES (0);
    """,
    """
    ALTER TABLE orders ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN captured INTEGER NOT NULL DEFAULT 0;
    UPDATE orders SET position = position_of(entry), captured = is_captured(entry);
    CREATE INDEX orders_by_position ON orders (position);
    CREATE INDEX captures ON orders (order_id) WHERE captured;
    """,
    # An entry may say that a payment is refunded, of which older code knows nothing; its captured stays 1.
    "",
)
FORMAT = len(_SCHEMA)


class JournalDamagedError(Exception):
    """The file holds something else than what was written. Payment must not start with it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why}); payment does not start with it: restore it from a backup")
        self.path = path


class JournalFullError(Exception):
    """The disk is full; nothing of the batch was written."""


class Journal:
    """Owns its file alone: a second process that opens it fails. Raises JournalDamagedError, FormatTooNewError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoder = msgspec.msgpack.Encoder()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.create_function("position_of", 1, lambda data: _decode(data).record.position)
            self._connection.create_function("is_captured", 1, lambda data: _is_captured(_decode(data)))
            self._check()
        except BaseException as error:
            self._connection.close()
            # An OperationalError is about the disk or another process, not about what the file holds.
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise JournalDamagedError(path, str(error)) from error
            raise

    def load(self) -> tuple[list[LedgerEntry], int]:
        """The entries of orders that may be unfinished, and below which position of the queue's log none is."""
        try:
            ((finished_below,),) = self._connection.execute("SELECT below FROM finished").fetchall()
            query = "SELECT entry FROM orders WHERE position = 0 OR position >= ?"
            entries = [_decode(entry) for (entry,) in self._connection.execute(query, (finished_below,))]
        except (msgspec.DecodeError, ValueError) as error:
            raise JournalDamagedError(self._path, str(error)) from error
        return entries, finished_below

    def entry(self, order_id: str) -> LedgerEntry | None:
        """What is known of an order, however long ago it ended."""
        row = self._connection.execute("SELECT entry FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        return None if row is None else _decode(row[0])

    def captures(self, after_order_id: str, captures_max: int) -> list[tuple[str, Payment]]:
        """A page of all captures there ever were, refunded ones too, in the order of the order ids."""
        query = "SELECT order_id, entry FROM orders WHERE captured AND order_id > ? ORDER BY order_id LIMIT ?"
        captures: list[tuple[str, Payment]] = []
        for order_id, entry in self._connection.execute(query, (after_order_id, captures_max)):
            payment = _decode(entry).payment
            assert payment is not None, "what is captured was prepared"
            captures.append((order_id, payment))
        return captures

    def write(self, entries: Iterable[LedgerEntry], finished_below: int) -> None:
        """All of it or nothing, durable on return. Raises JournalFullError, and sqlite3.Error for a failing disk."""
        rows = [
            (entry.record.attempt.order_id, self._encoder.encode(entry), entry.record.position, _is_captured(entry))
            for entry in entries
        ]
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", rows)
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
        if version > FORMAT:
            raise FormatTooNewError("payment's journal", version, FORMAT, str(self._path))
        for number, step in enumerate(_SCHEMA[version:], version + 1):
            self._connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        if version == 0:
            # SQLite syncs the directory for its log, not for the file that it has just made.
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        ((verdict,), *_) = self._connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise JournalDamagedError(self._path, verdict)


def _decode(entry: bytes) -> LedgerEntry:
    return msgspec.msgpack.decode(entry, type=LedgerEntry)


def _is_captured(entry: LedgerEntry) -> bool:
    return entry.payment is not None and entry.payment.was_captured
