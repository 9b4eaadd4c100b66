"""Which books are sold out: read in the background, and forgotten rather than told when it is old."""

import asyncio

import pytest

from suggestions import stock as module
from suggestions.stock import Stock
from utils.db_client.client import DatabaseEntry, StaleEntries
from utils.db_client.keys import stock_key
from utils.rpc.errors import Unavailable


class FakeDatabase:
    """Has copies by title, as (all, reserved)."""

    def __init__(self, **copies: tuple[int, int]) -> None:
        self.copies = copies
        self.stale_ms: int | None = 5
        self.away = False
        self.reads = asyncio.Semaphore(0)

    async def read_all_stale(self, prefix: str, *, timeout_s: float) -> StaleEntries:
        assert prefix == "stock:"
        self.reads.release()
        if self.away:
            raise Unavailable("no node answers")
        entries = (
            DatabaseEntry(stock_key(title), stock, 1, reserved) for title, (stock, reserved) in self.copies.items()
        )
        return StaleEntries(tuple(entries), self.stale_ms)


async def test_books_without_a_free_copy_are_sold_out() -> None:
    stock = Stock(FakeDatabase(plenty=(9, 3), none=(0, 0), reserved=(2, 2)))
    assert stock.sold_out() == frozenset()
    await stock.refresh()
    assert stock.sold_out() == {"none", "reserved"}


async def test_what_was_read_stays_while_the_database_is_away_until_it_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = FakeDatabase(none=(0, 0))
    stock = Stock(database)
    await stock.refresh()
    database.away = True
    await stock.refresh()
    assert stock.sold_out() == {"none"}
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now + module.AGE_S_MAX)
    assert stock.sold_out() == frozenset()


@pytest.mark.parametrize("stale_ms", [None, int(module.AGE_S_MAX * 1_000)])
async def test_a_node_that_is_far_behind_or_knows_not_how_far_says_nothing(stale_ms: int | None) -> None:
    database = FakeDatabase(none=(0, 0))
    database.stale_ms = stale_ms
    stock = Stock(database)
    await stock.refresh()
    assert stock.sold_out() == frozenset()


async def test_it_reads_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_INTERVAL_S", 0)
    database = FakeDatabase(none=(0, 0))
    database.away = True
    stock = Stock(database)
    running = asyncio.create_task(stock.run())
    async with asyncio.timeout(5):
        for _ in range(3):
            await database.reads.acquire()
        database.away = False
        while not stock.sold_out():
            await database.reads.acquire()
    running.cancel()
