"""How old this node's data can be, measured by nobody's wall clock.

The primary confirms its leadership: it then has everything that was committed before it asked. A replica asks the
primary how far it is: once the replica has applied as much, it has everything that the primary had when it was asked.
Both count from the moment of asking, on this process's monotonic clock, so that what is lost on the way counts as age.
"""

import asyncio
import contextlib
from collections import deque

from utils.pb import database_pb2, database_pb2_grpc
from utils.raft.consensus import Consensus
from utils.raft.errors import RaftError
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError

INTERVAL_S = 0.5
ASK_TIMEOUT_S = 1.0
# Answers that this node has not caught up with. Beyond, the newest are left out: the oldest is reached first.
_PENDING_MAX = 16
_STALE_MS_MAX = 2**32 - 1


class Freshness:
    """Unknown until the first measurement, and never guessed."""

    def __init__(self, node: Consensus) -> None:
        self._node = node
        # Everything that was committed before this moment is applied here.
        self._fresh_at: float | None = None
        # (moment, index): fresh at the moment, once the index is applied.
        self._pending: deque[tuple[float, int]] = deque()
        self._primary: Channel | None = None

    @property
    def stale_ms(self) -> int | None:
        """At most how old the data here is; None if that is not known."""
        while self._pending and self._pending[0][1] <= self._node.status.last_applied:
            self._advance(self._pending.popleft()[0])
        if self._fresh_at is None:
            return None
        stale_ms = int((asyncio.get_running_loop().time() - self._fresh_at) * 1_000) + 1
        return stale_ms if stale_ms <= _STALE_MS_MAX else None

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                # No primary, or none that answers: the data grows older, and says so.
                with contextlib.suppress(RaftError, ServiceError):
                    await self.measure()
                await asyncio.sleep(INTERVAL_S)
        finally:
            await self._close()

    async def measure(self) -> None:
        """Raises RaftError and ServiceError."""
        status = self._node.status
        asked_at = asyncio.get_running_loop().time()
        if status.ready:
            await self._node.read_barrier(timeout_s=ASK_TIMEOUT_S)
            self._advance(asked_at)
        elif status.leader_address is not None and status.leader_id != status.node_id:
            stub = database_pb2_grpc.DatabaseServiceStub(await self._channel(status.leader_address))  # type: ignore[arg-type]
            answer = await stub.GetDatabaseStatus(database_pb2.GetDatabaseStatusRequest(), timeout=ASK_TIMEOUT_S)
            if answer.is_primary and answer.HasField("stale_ms") and len(self._pending) < _PENDING_MAX:
                self._pending.append((asked_at - answer.stale_ms / 1_000, answer.last_applied))

    def _advance(self, moment: float) -> None:
        self._fresh_at = moment if self._fresh_at is None else max(self._fresh_at, moment)

    async def _channel(self, address: str) -> Channel:
        if self._primary is None or self._primary.address != address:
            await self._close()
            self._primary = Channel(address)
        return self._primary

    async def _close(self) -> None:
        if self._primary is not None:
            await self._primary.close()
