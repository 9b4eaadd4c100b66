"""Prices and stock from the database cluster, over gRPC."""

import asyncio
from collections.abc import Sequence
from typing import Final

from orchestrator.ports import Snapshot, Stock
from utils.db_client.client import DatabaseClient, DatabaseEntry
from utils.db_client.keys import PRICE_PREFIX, STOCK_PREFIX, price_key, stock_key
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.errors import NotFound

TIMEOUT_S: Final = 3.0


class BlockingDatabase:
    """Serves `orchestrator.ports.Database`."""

    def __init__(self, runtime: BlockingRuntime, addresses: Sequence[str]) -> None:
        self._runtime = runtime
        runtime.run(self._open(addresses))

    async def _open(self, addresses: Sequence[str]) -> None:
        self._client = DatabaseClient(addresses)

    def snapshot(self) -> Snapshot:
        return self._runtime.run(self._snapshot())

    def price_cents(self, title: str) -> int | None:
        entry = self._runtime.run(self._read(price_key(title)))
        return None if entry is None else int(entry.value)

    def stock(self, title: str) -> Stock | None:
        entry = self._runtime.run(self._read(stock_key(title)))
        return None if entry is None else _stock(entry)

    def close(self) -> None:
        self._runtime.run(self._client.close())

    async def _read(self, key: str) -> DatabaseEntry | None:
        try:
            return await self._client.read(key, timeout_s=TIMEOUT_S)
        except NotFound:
            return None

    async def _snapshot(self) -> Snapshot:
        prices, stock = await asyncio.gather(
            self._client.read_all_stale(PRICE_PREFIX, timeout_s=TIMEOUT_S),
            self._client.read_all_stale(STOCK_PREFIX, timeout_s=TIMEOUT_S),
        )
        ages = (prices.stale_ms, stock.stale_ms)
        return Snapshot(
            prices_cents={entry.key.removeprefix(PRICE_PREFIX): int(entry.value) for entry in prices.entries},
            stock={entry.key.removeprefix(STOCK_PREFIX): _stock(entry) for entry in stock.entries},
            stale_ms=None if None in ages else max(age for age in ages if age is not None),
        )


def _stock(entry: DatabaseEntry) -> Stock:
    return Stock(int(entry.value), entry.version, entry.reserved)
