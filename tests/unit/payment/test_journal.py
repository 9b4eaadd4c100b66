"""What the journal keeps, and with what it refuses to start."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from payment.journal import Journal, JournalDamagedError, JournalFullError
from payment.ledger import Ledger, LedgerEntry, Luck, PaymentState
from tests.unit.two_phase_commit_participant.words import attempt, commit, order_id, transaction
from utils.formats import FormatTooNewError

_FIRST_FORMAT = """
CREATE TABLE orders (order_id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE finished (below INTEGER NOT NULL);
INSERT INTO finished VALUES (0);
PRAGMA user_version = 1;
"""


def entries(*orders: int) -> list[LedgerEntry]:
    ledger = Ledger(Luck("seed", 1.0, 1.0))
    for order in orders:
        ledger.prepare(transaction(attempt(order=order)))
        if order % 2:
            ledger.decide(commit(attempt(order=order)))
    return sorted(ledger.take_changes(), key=lambda entry: entry.record.attempt)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "payment.sqlite"


def test_a_new_journal_is_empty(path: Path) -> None:
    journal = Journal(path)
    assert journal.load() == ([], 0)
    journal.close()


def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    journal = Journal(path)
    journal.write(entries(1, 2, 3), 7)
    journal.close()
    again = Journal(path)
    assert again.load() == (entries(1, 2, 3), 7)
    again.close()


def test_the_newest_entry_of_an_order_wins_and_the_watermark_never_falls(path: Path) -> None:
    journal = Journal(path)
    ledger = Ledger(Luck("seed", 1.0, 1.0))
    ledger.prepare(transaction(attempt()))
    journal.write(ledger.take_changes(), 9)
    ledger.decide(commit(attempt()))
    captured = ledger.take_changes()
    journal.write(captured, 5)
    assert journal.load() == (captured, 9)
    journal.close()


def test_every_commit_is_synced(path: Path) -> None:
    journal = Journal(path)
    pragmas = {
        name: journal._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "locking_mode")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}
    journal.close()


def test_a_second_process_cannot_open_it(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Journal(path)
    journal.close()


def test_a_torn_last_write_is_as_if_it_had_never_been(path: Path) -> None:
    journal = Journal(path)
    journal.write(entries(1), 0)
    wal = path.with_name(path.name + "-wal")
    before = wal.stat().st_size
    journal.write(entries(2), 0)
    image, log = path.read_bytes(), wal.read_bytes()
    journal.close()
    path.write_bytes(image)
    wal.write_bytes(log[: (before + len(log)) // 2])
    again = Journal(path)
    assert again.load() == (entries(1), 0)
    again.close()


def test_it_does_not_start_with_another_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a journal" * 100)
    with pytest.raises(JournalDamagedError, match=r"payment\.sqlite is damaged"):
        Journal(path)


def test_it_does_not_start_with_a_damaged_page(path: Path) -> None:
    journal = Journal(path)
    journal.write(entries(*range(200)), 0)
    journal.close()
    image = bytearray(path.read_bytes())
    for page in range(2, len(image) // 4096):
        image[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(image)
    with pytest.raises(JournalDamagedError):
        Journal(path)


def test_it_does_not_start_with_a_later_format(path: Path) -> None:
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    with pytest.raises(FormatTooNewError, match=r"payment\.sqlite: payment's journal of format 4"):
        Journal(path)


def test_an_entry_that_cannot_be_read_is_damage(path: Path) -> None:
    journal = Journal(path)
    journal._connection.execute("INSERT INTO orders (order_id, entry) VALUES ('x', x'00')")
    with pytest.raises(JournalDamagedError):
        journal.load()
    journal.close()


def test_a_full_disk_writes_nothing_and_later_it_works_again(path: Path) -> None:
    journal = Journal(path)
    journal.write(entries(1), 0)
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalFullError):
        journal.write(entries(*range(2, 100)), 4)
    assert journal.load() == (entries(1), 0)
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.write(entries(2), 0)
    assert journal.load() == (entries(1, 2), 0)
    journal.close()


def test_a_journal_of_the_first_format_is_taken_over(path: Path) -> None:
    path.parent.mkdir()
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(_FIRST_FORMAT)
    for entry in entries(1, 2, 3):
        row = (entry.record.attempt.order_id, msgspec.msgpack.encode(entry))
        old.execute("INSERT INTO orders VALUES (?, ?)", row)
    old.execute("UPDATE finished SET below = 12")
    old.close()
    journal = Journal(path)
    # Order 1 is at position 11.
    assert journal.load() == (entries(2, 3), 12)
    assert [captured for captured, _ in journal.captures("", 10)] == [order_id(1), order_id(3)]
    journal.close()


def test_what_is_finished_is_kept_but_not_loaded(path: Path) -> None:
    journal = Journal(path)
    one, two, three = entries(1, 2, 3)
    journal.write([one, two, three], 0)
    journal.write([], 13)
    assert journal.load() == ([three], 13)
    assert [journal.entry(order_id(number)) for number in (1, 2, 4)] == [one, two, None]
    journal.close()


def test_captures_come_in_pages_and_holds_are_not_among_them(path: Path) -> None:
    journal = Journal(path)
    journal.write(entries(*range(1, 8)), 0)
    first = journal.captures("", 3)
    assert [captured for captured, _ in first] == [order_id(1), order_id(3), order_id(5)]
    assert all(payment.state is PaymentState.CAPTURED for _, payment in first)
    assert [captured for captured, _ in journal.captures(order_id(5), 3)] == [order_id(7)]
    journal.close()


def test_a_journal_of_the_second_format_is_taken_over_and_then_holds_refunds(path: Path) -> None:
    journal = Journal(path)
    journal.write(entries(1, 2, 3), 12)
    journal._connection.execute("PRAGMA user_version = 2")
    journal.close()
    journal = Journal(path)
    ledger = Ledger(Luck("seed", 1.0, 1.0))
    old = journal.entry(order_id(1))
    assert old is not None
    code = ledger.refund(old)
    journal.write(ledger.take_changes(), 12)
    first, third = journal.captures("", 10)
    assert (first[0], first[1].state, first[1].refund_code) == (order_id(1), PaymentState.REFUNDED, code)
    assert (third[0], third[1].state, third[1].refund_code) == (order_id(3), PaymentState.CAPTURED, "")
    journal.close()
