"""Prices and stock from the database cluster, over gRPC."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Final

from orchestrator.ports import Snapshot, Stock
from utils.db_client.keys import PRICE_PREFIX, STOCK_PREFIX, price_key, stock_key
from utils.pb import database_pb2, database_pb2_grpc
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import NotFound, ServiceError, Unavailable

TIMEOUT_S: Final = 3.0
_STALE_TIMEOUT_S: Final = 1.0
_PAGE_ENTRIES: Final = 500


class DatabaseClient:
    """Serves `orchestrator.ports.Database`."""

    def __init__(self, runtime: BlockingRuntime, addresses: Sequence[str]) -> None:
        self._runtime = runtime
        self._addresses = addresses
        self._turns = itertools.count()
        runtime.run(self._open())

    async def _open(self) -> None:
        self._cluster = ClusterChannel(self._addresses)
        self._channels = [Channel(address) for address in self._addresses]
        self._primary = database_pb2_grpc.DatabaseServiceStub(self._cluster)  # type: ignore[arg-type]
        self._nodes = [database_pb2_grpc.DatabaseServiceStub(channel) for channel in self._channels]  # type: ignore[arg-type]

    def snapshot(self) -> Snapshot:
        return self._runtime.run(self._snapshot())

    def price_cents(self, title: str) -> int | None:
        entry = self._runtime.run(self._read(price_key(title)))
        return None if entry is None else entry.value.integer

    def stock(self, title: str) -> Stock | None:
        entry = self._runtime.run(self._read(stock_key(title)))
        return None if entry is None else _stock(entry)

    def close(self) -> None:
        self._runtime.run(self._close())

    async def _close(self) -> None:
        await asyncio.gather(self._cluster.close(), *(channel.close() for channel in self._channels))

    async def _read(self, key: str) -> database_pb2.Entry | None:
        request = database_pb2.ReadRequest(key=key, consistency=database_pb2.CONSISTENCY_LINEARIZABLE)
        try:
            return (await self._primary.Read(request, timeout=TIMEOUT_S)).entry
        except NotFound:
            return None

    async def _snapshot(self) -> Snapshot:
        """Nodes take turns; the next one answers for one that does not."""
        first = next(self._turns)
        failure: ServiceError = Unavailable("there is no database node")
        for offset in range(len(self._nodes)):
            node = self._nodes[(first + offset) % len(self._nodes)]
            try:
                return await _snapshot_of(node)
            except ServiceError as error:
                failure = error
        raise failure


async def _snapshot_of(node: database_pb2_grpc.DatabaseServiceStub) -> Snapshot:
    prices: dict[str, int] = {}
    stock: dict[str, Stock] = {}
    ages: list[int | None] = []
    async for page in _pages(node, PRICE_PREFIX):
        prices.update((entry.key.removeprefix(PRICE_PREFIX), entry.value.integer) for entry in page.entries)
        ages.append(page.stale_ms if page.HasField("stale_ms") else None)
    async for page in _pages(node, STOCK_PREFIX):
        stock.update((entry.key.removeprefix(STOCK_PREFIX), _stock(entry)) for entry in page.entries)
        ages.append(page.stale_ms if page.HasField("stale_ms") else None)
    known = [age for age in ages if age is not None]
    return Snapshot(prices, stock, max(known) if len(known) == len(ages) else None)


async def _pages(
    node: database_pb2_grpc.DatabaseServiceStub, prefix: str
) -> AsyncIterator[database_pb2.ReadAllResponse]:
    after_key = ""
    while True:
        request = database_pb2.ReadAllRequest(
            prefix=prefix,
            after_key=after_key,
            max_entries=_PAGE_ENTRIES,
            consistency=database_pb2.CONSISTENCY_STALE,
        )
        page = await node.ReadAll(request, timeout=_STALE_TIMEOUT_S)
        yield page
        if not page.more or not page.entries:
            return
        after_key = page.entries[-1].key


def _stock(entry: database_pb2.Entry) -> Stock:
    return Stock(entry.value.integer, entry.version, entry.reserved)
