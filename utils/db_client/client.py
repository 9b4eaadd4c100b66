"""The client of the database cluster."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from utils.pb import database_pb2 as pb, database_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import DeadlineExceeded, ServiceError, Unavailable
from utils.rpc.transport import Credentials

# One node's share of a stale read's time, while there are others to ask.
STALE_TRY_TIMEOUT_S = 1.0
WRITES_IN_FLIGHT_MAX = 64
_PAGE = 1_000

_T = TypeVar("_T")


class DatabaseEntry(msgspec.Struct, frozen=True):
    """A key's value and version. For stock, `reserved` copies are part of the value."""

    key: str
    value: int | str
    version: int
    reserved: int = 0


class _Writer(msgspec.Struct):
    """An identity under which one write at a time is sent, which is all that the database remembers of it."""

    client_id: str
    sequence: int = 0

    def next_request(self) -> pb.RequestId:
        self.sequence += 1
        return pb.RequestId(client_id=self.client_id, sequence=self.sequence)


class StaleEntries(msgspec.Struct, frozen=True):
    """What a node said without asking the primary. `stale_ms`: at most how old it is; None if it did not know."""

    entries: tuple[DatabaseEntry, ...]
    stale_ms: int | None


class DatabaseClient:
    """Belongs to one event loop. Every method raises `utils.rpc.errors`.

    Writes and linearizable reads go to the primary, wherever it is. A write is sent again, under its request id, while
    no primary has answered it: DeadlineExceeded and Unavailable then mean that whether it was done is not known.
    Stale reads go to the nodes in turn.
    """

    def __init__(self, addresses: Sequence[str], *, credentials: Credentials | None = None) -> None:
        """`addresses`: host:port of the nodes."""
        self._primary_channel = ClusterChannel(addresses, credentials)
        self._primary = database_pb2_grpc.DatabaseServiceStub(self._primary_channel)  # type: ignore[arg-type]
        self._channels = {address: Channel(address, credentials) for address in addresses}
        self._nodes = {
            address: database_pb2_grpc.DatabaseServiceStub(channel)  # type: ignore[arg-type]
            for address, channel in self._channels.items()
        }
        self._turn = 0
        # Last in, first out: a client that writes little uses few identities.
        self._writers: asyncio.LifoQueue[_Writer] = asyncio.LifoQueue()
        client_id = secrets.token_hex(16)
        for number in reversed(range(WRITES_IN_FLIGHT_MAX)):
            self._writers.put_nowait(_Writer(f"{client_id}-{number}"))

    async def close(self) -> None:
        await self._primary_channel.close()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def read(self, key: str, *, timeout_s: float) -> DatabaseEntry:
        """Linearizable. Raises NotFound for a key that was never written."""
        response = await self._primary.Read(pb.ReadRequest(key=key), timeout=timeout_s)
        return _entry(response.entry)

    async def read_all(self, prefix: str, *, timeout_s: float) -> tuple[DatabaseEntry, ...]:
        """Every key that begins with `prefix`, in their order. Each page is linearizable, not all together."""
        entries, _ = await _pages(self._primary, prefix, pb.CONSISTENCY_LINEARIZABLE, timeout_s)
        return entries

    async def node_statuses(self, *, timeout_s: float) -> dict[str, pb.GetDatabaseStatusResponse | ServiceError]:
        """What each node says of itself, by its address; or why it says nothing."""

        async def ask(node: database_pb2_grpc.DatabaseServiceStub) -> pb.GetDatabaseStatusResponse | ServiceError:
            try:
                return await node.GetDatabaseStatus(pb.GetDatabaseStatusRequest(), timeout=timeout_s)
            except ServiceError as error:
                return error

        return dict(zip(self._nodes, await asyncio.gather(*map(ask, self._nodes.values())), strict=True))

    async def read_stale(self, key: str, *, timeout_s: float) -> StaleEntries:
        """One entry, from any node. Raises NotFound for a key that the node has never heard of."""
        request = pb.ReadRequest(key=key, consistency=pb.CONSISTENCY_STALE)

        async def ask(node: database_pb2_grpc.DatabaseServiceStub, timeout: float) -> StaleEntries:
            response = await node.Read(request, timeout=timeout)
            stale_ms = response.stale_ms if response.HasField("stale_ms") else None
            return StaleEntries((_entry(response.entry),), stale_ms)

        return await self._ask_in_turn(ask, timeout_s)

    async def read_all_stale(self, prefix: str, *, timeout_s: float) -> StaleEntries:
        """Every key that begins with `prefix`, in the order of the keys, from any one node."""

        async def ask(node: database_pb2_grpc.DatabaseServiceStub, timeout: float) -> StaleEntries:
            return StaleEntries(*await _pages(node, prefix, pb.CONSISTENCY_STALE, timeout))

        return await self._ask_in_turn(ask, timeout_s)

    async def write(self, key: str, value: int | str, *, expected_version: int | None = None, timeout_s: float) -> int:
        """Returns the new version. With `expected_version` (0: a new key) it is written at that version, or not.

        Raises FailedPrecondition at another version, InvalidArgument for a value that the key cannot hold.
        """
        kind = pb.Value(integer=value) if isinstance(value, int) else pb.Value(text=value)

        async def send(request_id: pb.RequestId, timeout: float) -> int:
            request = pb.WriteRequest(key=key, value=kind, expected_version=expected_version, request_id=request_id)
            version: int = (await self._primary.Write(request, timeout=timeout)).version
            return version

        return await self._send_once(send, timeout_s)

    async def decrement_stock(self, title: str, quantity: int, *, timeout_s: float) -> int:
        """Returns how many copies are left. Raises FailedPrecondition if fewer than `quantity` are free."""

        async def send(request_id: pb.RequestId, timeout: float) -> int:
            request = pb.DecrementStockRequest(book=title, quantity=quantity, request_id=request_id)
            stock: int = (await self._primary.DecrementStock(request, timeout=timeout)).stock
            return stock

        return await self._send_once(send, timeout_s)

    async def _send_once(self, send: Callable[[pb.RequestId, float], Awaitable[_T]], timeout_s: float) -> _T:
        """Under one request id, however often it is sent."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                writer = await self._writers.get()
        except TimeoutError:
            raise DeadlineExceeded(f"{WRITES_IN_FLIGHT_MAX} writes are in flight") from None
        try:
            return await send(writer.next_request(), deadline - asyncio.get_running_loop().time())
        finally:
            self._writers.put_nowait(writer)

    async def _ask_in_turn(
        self, ask: Callable[[database_pb2_grpc.DatabaseServiceStub, float], Awaitable[StaleEntries]], timeout_s: float
    ) -> StaleEntries:
        """The first answer whose age is known; else any answer; else the last error."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        nodes = list(self._nodes.values())
        self._turn = (self._turn + 1) % len(nodes)
        answer: StaleEntries | None = None
        error: ServiceError | None = None
        for node in nodes[self._turn :] + nodes[: self._turn]:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            try:
                answer = await ask(node, min(remaining, STALE_TRY_TIMEOUT_S))
            except (Unavailable, DeadlineExceeded) as failure:
                error = failure
                continue
            if answer.stale_ms is not None:
                return answer
        if answer is not None:
            return answer
        raise error or DeadlineExceeded("no time was left to read")


async def _pages(
    node: database_pb2_grpc.DatabaseServiceStub, prefix: str, consistency: pb.Consistency.ValueType, timeout_s: float
) -> tuple[tuple[DatabaseEntry, ...], int | None]:
    """All entries, and how old the oldest page of them can be (None: not known)."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    entries: list[DatabaseEntry] = []
    oldest: int | None = 0
    more, after_key = True, ""
    while more:
        request = pb.ReadAllRequest(prefix=prefix, after_key=after_key, max_entries=_PAGE, consistency=consistency)
        page = await node.ReadAll(request, timeout=deadline - asyncio.get_running_loop().time())
        entries += [_entry(entry) for entry in page.entries]
        known = oldest is not None and page.HasField("stale_ms")
        oldest = max(oldest or 0, page.stale_ms) if known else None
        more, after_key = page.more, entries[-1].key if entries else ""
    return tuple(entries), oldest


def _entry(entry: pb.Entry) -> DatabaseEntry:
    value = entry.value.integer if entry.value.WhichOneof("kind") == "integer" else entry.value.text
    return DatabaseEntry(entry.key, value, entry.version, entry.reserved)
