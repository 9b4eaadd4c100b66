"""Which books are sold out, as a node of the database cluster said not long ago. Nobody waits for it."""

import asyncio
from typing import Final, Protocol

from utils.db_client.client import StaleEntries
from utils.db_client.keys import STOCK_PREFIX
from utils.observe.logging import get_logger
from utils.rpc.errors import ServiceError

log = get_logger()

REFRESH_INTERVAL_S: Final = 2.0
READ_TIMEOUT_S: Final = 3.0
# What is older says nothing: books that were sold out may be back.
AGE_S_MAX: Final = 30.0


class StockReader(Protocol):
    """What this needs of the database's client."""

    async def read_all_stale(self, prefix: str, *, timeout_s: float) -> StaleEntries:
        """Raises ServiceError."""
        ...


class Stock:
    """One task reads; everybody else gets what it read last."""

    def __init__(self, database: StockReader) -> None:
        self._database = database
        self._sold_out: frozenset[str] = frozenset()
        self._known_until = 0.0
        self._failing = False

    def sold_out(self) -> frozenset[str]:
        """Titles of which every copy is sold or reserved; none where that is not known."""
        return self._sold_out if asyncio.get_running_loop().time() < self._known_until else frozenset()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_INTERVAL_S)

    async def refresh(self) -> None:
        """Reads once. A failure leaves what is known, until that is too old."""
        asked_at = asyncio.get_running_loop().time()
        try:
            stock = await self._database.read_all_stale(STOCK_PREFIX, timeout_s=READ_TIMEOUT_S)
        except ServiceError as error:
            if not self._failing:
                log.warning("stock cannot be read", error=error.message)
            self._failing = True
            return
        if self._failing:
            log.info("stock is read again")
        self._failing = False
        if stock.stale_ms is None:
            return
        self._known_until = asked_at - stock.stale_ms / 1_000 + AGE_S_MAX
        self._sold_out = frozenset(
            entry.key.removeprefix(STOCK_PREFIX) for entry in stock.entries if int(entry.value) <= entry.reserved
        )
