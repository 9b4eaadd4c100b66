"""Never oversold, whatever comes in whatever order: first stock = stock now + copies sold."""

from hypothesis import given, strategies as st

from db_node.database_machine import DatabaseMachine
from tests.unit.db_node.words import Database
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit
from utils.two_phase_commit.messages import Attempt, VoteKind

attempts = st.builds(attempt, st.integers(1, 2), epoch=st.integers(1, 2), order=st.integers(1, 4))
messages = st.tuples(st.sampled_from(["prepare", "prepare", "commit", "abort", "restart"]), attempts)


@given(st.lists(messages, max_size=60))
def test_copies_are_neither_lost_nor_sold_twice(history: list[tuple[str, Attempt]]) -> None:
    db = Database()
    sold: dict[str, int] = {}
    held: dict[Attempt, int] = {}
    for what, of in history:
        if what == "prepare":
            # An attempt always asks for the same: how many is its order's.
            quantity = 1 + int(of.order_id, 16) % 4
            vote = db.prepare(of, Book_B=quantity, Book_A=quantity)
            if vote.kind is VoteKind.COMMIT:
                held[of] = quantity
        elif what == "commit":
            if db.decide(commit(of)).done:
                sold[of.order_id] = held[of]
        elif what == "abort":
            db.decide(abort(of))
        else:
            snapshot = DatabaseMachine.snapshot(db)
            db.restore(snapshot)
        for title, first in (("Book A", 10), ("Book B", 2)):
            stock, reserved, version = db.stock(title)
            assert 0 <= reserved <= stock
            assert stock + sum(sold.values()) == first
            assert version == 1 + len(sold)
            assert reserved == sum(db.reservation(doubt.order_id)[title] for doubt in db.in_doubt)
