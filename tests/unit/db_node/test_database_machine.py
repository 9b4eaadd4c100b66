"""Keys, versions, reservations, remembered requests, snapshots."""

import pytest

from db_node import keyspace, remembered_requests
from db_node.commands import (
    DecrementStock,
    Prepare,
    RaiseEpoch,
    Refusal,
    RefusalReason,
    RequestId,
    Restocked,
    Seed,
    StockLeft,
    Write,
    Written,
)
from db_node.database_machine import DatabaseMachine
from tests.unit.db_node.words import Database
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit
from utils.two_phase_commit.messages import VoteKind


@pytest.fixture
def db() -> Database:
    return Database()


def reason(result: object) -> RefusalReason:
    assert isinstance(result, Refusal), result
    return result.reason


def test_the_version_grows_by_one_with_each_write(db: Database) -> None:
    assert [db.write("motd", text) for text in ("a", "b", "b")] == [Written(1), Written(2), Written(3)]
    entry = db.get("motd")
    assert entry is not None
    assert (entry.value, entry.version) == ("b", 3)
    assert db.get("other") is None


def test_a_write_at_another_version_changes_nothing(db: Database) -> None:
    assert reason(db.write("motd", "a", expected_version=1)) is RefusalReason.VERSION_CONFLICT
    assert db.write("motd", "a", expected_version=0) == Written(1)
    assert reason(db.write("motd", "b", expected_version=0)) is RefusalReason.VERSION_CONFLICT
    assert db.write("motd", "b", expected_version=1) == Written(2)


@pytest.mark.parametrize(
    ("key", "value"),
    [("stock:Book A", -1), ("stock:Book A", "ten"), ("price:New", "cheap"), ("price:Book A", -5), ("stock:New", "1")],
)
def test_a_key_holds_only_values_of_its_type(db: Database, key: str, value: int | str) -> None:
    before = db.get(key)
    assert reason(db.write(key, value)) is RefusalReason.WRONG_VALUE
    assert db.get(key) == before


def test_the_type_of_a_key_is_that_of_its_first_value(db: Database) -> None:
    db.write("motd", "hello")
    assert reason(db.write("motd", 3)) is RefusalReason.WRONG_VALUE


def test_keys_are_bounded(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyspace, "KEYS_MAX", db.keys_count)
    assert reason(db.write("one more", 1)) is RefusalReason.FULL
    assert db.write("price:Book A", 5) == Written(2)


def test_seed_leaves_what_was_ever_written(db: Database) -> None:
    db.decrement("Book A", 10)
    db.run(Seed({"stock:Book A": 10, "stock:Book C": 5}))
    assert db.stock("Book A") == (0, 0, 2)
    assert db.stock("Book C") == (5, 0, 1)


def test_decrement_takes_free_copies_only(db: Database) -> None:
    assert db.decrement("Book A", 4) == StockLeft(stock=6, version=2)
    db.prepare(attempt(), Book_A=5)
    assert reason(db.decrement("Book A", 2)) is RefusalReason.TOO_FEW_COPIES
    assert db.stock("Book A") == (6, 5, 2)
    assert db.decrement("Book A", 1) == StockLeft(stock=5, version=3)
    assert reason(db.decrement("Unheard of", 1)) is RefusalReason.KEY_UNKNOWN


def test_stock_cannot_be_written_below_what_is_reserved(db: Database) -> None:
    db.prepare(attempt(), Book_A=5)
    assert reason(db.write("stock:Book A", 4)) is RefusalReason.TOO_FEW_COPIES
    assert db.write("stock:Book A", 5) == Written(2)
    assert db.decide(commit(attempt())).done
    assert db.stock("Book A") == (0, 0, 3)


def test_prepare_reserves_and_commit_takes(db: Database) -> None:
    assert db.prepare(attempt(), Book_A=3, Book_B=1).kind is VoteKind.COMMIT
    assert (db.stock("Book A"), db.stock("Book B")) == ((10, 3, 1), (2, 1, 1))
    assert db.reservation(attempt().order_id) == {"Book A": 3, "Book B": 1}
    assert db.decide(commit(attempt())).done
    assert (db.stock("Book A"), db.stock("Book B")) == ((7, 0, 2), (1, 0, 2))
    assert db.reservation(attempt().order_id) == {}
    assert db.decide(commit(attempt())).done
    assert (db.stock("Book A"), db.stock("Book B")) == ((7, 0, 2), (1, 0, 2)), "sold twice"


def test_abort_gives_the_copies_back(db: Database) -> None:
    db.prepare(attempt(), Book_A=3)
    assert db.decide(abort(attempt())).done
    assert db.stock("Book A") == (10, 0, 1)


def test_a_higher_attempt_frees_what_the_older_one_held(db: Database) -> None:
    db.prepare(attempt(1), Book_B=2)
    assert db.prepare(attempt(1, epoch=2), Book_B=2).kind is VoteKind.COMMIT
    assert db.stock("Book B") == (2, 2, 1)


def test_no_only_if_no_undecided_order_could_free_the_copies(db: Database) -> None:
    db.prepare(attempt(order=1), Book_B=1)
    assert db.prepare(attempt(order=2), Book_B=2).kind is VoteKind.BUSY
    vote = db.prepare(attempt(order=3), Book_B=3)
    assert (vote.kind, [reason.code for reason in vote.reasons]) == (VoteKind.ABORT, ["out_of_stock"])
    db.decide(commit(attempt(order=1)))
    assert db.prepare(attempt(order=2), Book_B=2).kind is VoteKind.ABORT


def test_a_busy_order_gets_what_another_gives_back(db: Database) -> None:
    db.prepare(attempt(order=1), Book_B=2)
    assert db.prepare(attempt(order=2), Book_B=2).kind is VoteKind.BUSY
    db.decide(abort(attempt(order=1)))
    assert db.prepare(attempt(order=2), Book_B=2).kind is VoteKind.COMMIT


@pytest.mark.parametrize(("books", "kind"), [({"Book_B": 3}, VoteKind.ABORT), ({"Book_B": 2}, VoteKind.BUSY)])
def test_an_order_holds_all_that_it_needs_or_nothing(db: Database, books: dict[str, int], kind: VoteKind) -> None:
    db.prepare(attempt(order=1), Book_B=1)
    assert db.prepare(attempt(order=2), Book_A=1, **books).kind is kind
    assert db.stock("Book A") == (10, 0, 1)


def test_every_reason_is_told(db: Database) -> None:
    vote = db.prepare(attempt(), Book_A=11, Book_B=1, Unheard_of=1)
    assert [reason.code for reason in vote.reasons] == ["out_of_stock", "book_unknown"]
    assert db.in_doubt == ()


def test_finished_orders_are_refused(db: Database) -> None:
    assert db.prepare(attempt(order=1), finished_below=11).kind is VoteKind.REFUSED
    assert db.prepare(attempt(order=2)).kind is VoteKind.REFUSED


def test_a_repeated_request_is_answered_and_not_carried_out(db: Database) -> None:
    command = DecrementStock("Book A", 4, RequestId("c", 1))
    assert db.run(command) == db.run(command) == StockLeft(stock=6, version=2)
    assert db.stock("Book A") == (6, 0, 2)
    write = Write("motd", "a", 0, RequestId("c", 2))
    assert db.run(write) == db.run(write) == Written(1)


def test_a_refusal_is_remembered_too(db: Database) -> None:
    command = DecrementStock("Book B", 3, RequestId("c", 1))
    first = db.run(command)
    db.write("stock:Book B", 50)
    assert db.run(command) == first


def test_clients_and_sequences_do_not_mix(db: Database) -> None:
    for request_id in (RequestId("c", 1), RequestId("d", 1), RequestId("c", 2)):
        db.run(DecrementStock("Book A", 1, request_id))
    assert db.stock("Book A") == (7, 0, 4)


def test_a_late_request_is_refused_once_its_client_has_sent_another(db: Database) -> None:
    for sequence in (1, 3):
        db.run(DecrementStock("Book A", 1, RequestId("c", sequence)))
    for late in (1, 2):
        assert reason(db.run(DecrementStock("Book A", 1, RequestId("c", late)))) is RefusalReason.REQUEST_FORGOTTEN
    assert db.stock("Book A") == (8, 0, 3)


def test_clients_are_bounded_and_the_one_that_wrote_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    db = Database()
    monkeypatch.setattr(remembered_requests, "CLIENTS_MAX", 2)
    for client, sequence in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        db.run(DecrementStock("Book A", 1, RequestId(client, sequence)))
    assert set(db._requests.clients) == {"a", "c"}
    assert db.stock("Book A") == (6, 0, 5)


def test_the_copies_of_a_committed_order_return_once(db: Database) -> None:
    db.prepare(attempt(), Book_A=3, Book_B=1)
    db.decide(commit(attempt()))
    first = db.restock(attempt(), Book_A=3, Book_B=1)
    assert isinstance(first, Restocked)
    assert (db.stock("Book A"), db.stock("Book B")) == ((10, 0, 3), (2, 0, 3))
    again = Database()
    again.restore(db.snapshot())
    for machine in (db, again):
        assert machine.restock(attempt(), Book_A=3, Book_B=1) == first
        assert (machine.stock("Book A"), machine.stock("Book B")) == ((10, 0, 3), (2, 0, 3)), "restocked twice"
        # The commit stands, and is answered as ever.
        assert machine.decide(commit(attempt())).done
        assert machine.stock("Book A") == (10, 0, 3)


def test_the_copies_of_a_finished_order_return_once_however_long_ago_it_was(db: Database) -> None:
    db.prepare(attempt())
    db.decide(commit(attempt()))
    db.run(Prepare((), 11))
    assert db._participant.records == {}
    db.restock(attempt())
    assert db.stock("Book A") == (10, 0, 3)
    db.run(Prepare((), 1_000))
    db.restock(attempt())
    assert db.stock("Book A") == (10, 0, 3), "restocked twice"


def test_nothing_returns_of_an_order_that_took_nothing(db: Database) -> None:
    db.prepare(attempt(order=1))
    db.prepare(attempt(order=2))
    db.decide(abort(attempt(order=2)))
    before = db.snapshot()
    for order in (1, 2, 3):
        assert reason(db.restock(attempt(order=order))) is RefusalReason.NOT_COMMITTED
    assert db.snapshot() == before


def test_what_cannot_return_as_a_whole_does_not_return_at_all(db: Database) -> None:
    db.prepare(attempt(), Book_A=3, Book_B=1)
    db.decide(commit(attempt()))
    db.write("stock:Book B", 2**63 - 1)
    before = db.snapshot()
    assert reason(db.restock(attempt(), Book_A=3, Book_B=1)) is RefusalReason.TOO_MANY_COPIES
    assert reason(db.restock(attempt(), Book_A=3, Unheard_of=1)) is RefusalReason.KEY_UNKNOWN
    assert db.snapshot() == before
    db.write("stock:Book B", 2**63 - 2)
    assert isinstance(db.restock(attempt(), Book_A=3, Book_B=1), Restocked)
    assert db.stock("Book B")[0] == 2**63 - 1


def test_a_scan_goes_through_all_keys_of_a_prefix_in_pages(db: Database) -> None:
    db.write("stock", 1)
    db.write("stock:", 0)
    db.write("stocks", 1)
    first, more = db.scan("stock:", "", 2)
    assert ([entry.key for entry in first], more) == (["stock:", "stock:Book A"], True)
    rest, more = db.scan("stock:", "stock:Book A", 2)
    assert ([entry.key for entry in rest], more) == (["stock:Book B"], False)
    assert [entry.key for entry in db.scan("", "", 10)[0]] == sorted(db._keyspace.stored)
    assert db.scan("zzz", "", 10) == ([], False)


def test_a_restored_database_goes_on_where_the_other_was(db: Database) -> None:
    db.prepare(attempt(order=1), Book_B=2)
    db.prepare(attempt(order=2), Book_A=1)
    db.decide(commit(attempt(order=2)))
    db.run(DecrementStock("Book A", 1, RequestId("c", 1)))
    db.run(Prepare((), 5))
    again = Database()
    again.restore(db.snapshot())
    assert again.snapshot() == db.snapshot()
    for machine in (db, again):
        assert machine.in_doubt == (attempt(order=1),)
        assert machine.stock("Book B") == (2, 2, 1)
        assert machine.prepare(attempt(order=3), Book_B=1).kind is VoteKind.BUSY
        assert machine.prepare(attempt(order=2)).kind is VoteKind.ALREADY_COMMITTED
        assert machine.run(DecrementStock("Book A", 1, RequestId("c", 1))) == StockLeft(stock=8, version=3)
        assert machine.decide(commit(attempt(order=1))).done
        assert machine.stock("Book B") == (0, 0, 2)
        assert [entry.key for entry in machine.scan("stock:", "", 9)[0]] == ["stock:Book A", "stock:Book B"]
    assert again.snapshot() == db.snapshot()


def test_a_restored_database_knows_no_epoch_that_the_other_does_not(db: Database) -> None:
    """The abort of an attempt that was never prepared leaves a mark with the attempt's epoch."""
    db.prepare(attempt(order=1, epoch=2))
    db.decide(abort(attempt(order=2, epoch=3)))
    again = Database()
    again.restore(db.snapshot())
    assert again.snapshot() == db.snapshot()
    raised = RaiseEpoch(0, "executor_1", "a")
    assert again.run(raised) == db.run(raised)


def test_an_empty_database_has_an_empty_snapshot() -> None:
    machine = DatabaseMachine()
    machine.restore(machine.snapshot())
    assert machine.keys_count == 0
