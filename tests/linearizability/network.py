"""The network between nodes: a TCP proxy for each pair and direction, which can fall silent.

A cut link takes bytes and delivers none, as a network that drops packets: no connection is refused or closed. When it
is healed, what it has taken arrives late.
"""

import asyncio
from collections.abc import Collection

_CHUNK_BYTES = 64 * 1024


class Link:
    """From one node to another: the connections that the first one opens."""

    def __init__(self, target: str) -> None:
        """`target`: host:port."""
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side closes; then so does the other, as with a node that dies."""
        writers = [writer]
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
            writers.append(far_writer)
            pumps = [
                asyncio.create_task(self._pump(reader, far_writer)),
                asyncio.create_task(self._pump(far_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            # The node is not there.
            return
        finally:
            for one in writers:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._open.wait()
            writer.write(data)
            await writer.drain()


class Network:
    """Links between all pairs of nodes."""

    def __init__(self, addresses: dict[str, str]) -> None:
        """`addresses`: where each node listens."""
        self._addresses = addresses
        self._links = {
            (source, target): Link(address)
            for source in addresses
            for target, address in addresses.items()
            if source != target
        }

    async def start(self) -> None:
        for link in self._links.values():
            await link.start()

    def peers_of(self, node_id: str) -> dict[str, str]:
        """Where that node finds everybody; itself at its own address."""
        return {
            peer: address if peer == node_id else self._links[node_id, peer].address
            for peer, address in self._addresses.items()
        }

    def cut(self, sources: Collection[str], targets: Collection[str]) -> None:
        """What `sources` say does not reach `targets`."""
        for (source, target), link in self._links.items():
            if source in sources and target in targets:
                link.cut()

    def heal(self) -> None:
        for link in self._links.values():
            link.heal()

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()))
