"""Commands for tests, with everything that a test does not care about filled in."""

from typing import Any

from db_node.commands import (
    Command,
    Decide,
    DecrementStock,
    OrderedCopies,
    Prepare,
    RequestId,
    Restock,
    Seed,
    Value,
    Write,
)
from db_node.database_machine import DatabaseMachine, encode
from utils.db_client.keys import stock_key
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote


class Database(DatabaseMachine):
    """A machine that takes commands as a test writes them. Book A has 10 copies, Book B has 2."""

    def __init__(self) -> None:
        super().__init__()
        self._index = 0
        self._sequence = 0
        self.run(Seed({"stock:Book A": 10, "stock:Book B": 2, "price:Book A": 1_250}))

    def run(self, command: Command) -> Any:
        self._index += 1
        return self.apply(self._index, encode(command))

    def next_request(self) -> RequestId:
        self._sequence += 1
        return RequestId("client", self._sequence)

    def write(self, key: str, value: Value, expected_version: int | None = None) -> Any:
        return self.run(Write(key, value, expected_version, self.next_request()))

    def decrement(self, title: str, quantity: int) -> Any:
        return self.run(DecrementStock(title, quantity, self.next_request()))

    def prepare(self, of: Attempt, finished_below: int = 0, **copies: int) -> Vote:
        """Of one copy of Book A, unless `Book_B=2` or so says otherwise."""
        quantities = {title.replace("_", " "): quantity for title, quantity in copies.items()} or {"Book A": 1}
        (vote,) = self.run(Prepare((OrderedCopies(of, 10, quantities),), finished_below))
        return vote  # type: ignore[no-any-return]

    def decide(self, decision: Decision) -> Acknowledgement:
        (acknowledgement,) = self.run(Decide((decision,)))
        return acknowledgement  # type: ignore[no-any-return]

    def restock(self, of: Attempt, position: int = 10, **copies: int) -> Any:
        """As `prepare`."""
        quantities = {title.replace("_", " "): quantity for title, quantity in copies.items()} or {"Book A": 1}
        return self.run(Restock(of.order_id, position, quantities))

    def stock(self, title: str) -> tuple[int, int, int]:
        """Copies, of which reserved, and the version."""
        entry = self.get(stock_key(title))
        assert entry is not None
        assert isinstance(entry.value, int)
        return entry.value, entry.reserved, entry.version
