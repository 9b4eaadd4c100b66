"""The network between nodes: what each node opens goes through an HTTP proxy of its own, which can fall silent.

gRPC finds the proxy by `grpc_proxy` and tells it the target (CONNECT, RFC 9110, 9.3.6); nothing else knows of it.
A cut link takes bytes and delivers none, as a network that drops packets: no connection is refused or closed. When it
is healed, what it has taken arrives late.
"""

import asyncio
from collections.abc import Collection

_CHUNK_BYTES = 64 * 1024


class Outlet:
    """All that one node opens. `links`: by the target's host:port, whether it is open."""

    def __init__(self, links: dict[str, asyncio.Event]) -> None:
        self._links = links
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

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
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split()[1].decode()
            link = self._links.get(target)
            if link is not None:
                await link.wait()
            host, _, port = target.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writers.append(far_writer)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pumps = [
                asyncio.create_task(_pump(reader, far_writer, link)),
                asyncio.create_task(_pump(far_reader, writer, link)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError):
            # The other node is not there, or this one is gone already.
            return
        finally:
            for one in writers:
                one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: asyncio.Event | None) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        if link is not None:
            await link.wait()
        writer.write(data)
        await writer.drain()


class Network:
    """Links between all pairs of nodes."""

    def __init__(self, addresses: dict[str, str]) -> None:
        """`addresses`: where each node listens."""
        self._addresses = addresses
        self._links = {
            source: {address: asyncio.Event() for target, address in addresses.items() if target != source}
            for source in addresses
        }
        self._outlets = {source: Outlet(links) for source, links in self._links.items()}
        self.heal()

    async def start(self) -> None:
        for outlet in self._outlets.values():
            await outlet.start()

    def settings_of(self, node_id: str) -> dict[str, str]:
        """What the node's process needs in its environment."""
        return {"grpc_proxy": f"http://{self._outlets[node_id].address}", "no_grpc_proxy": "", "no_proxy": ""}

    def cut(self, sources: Collection[str], targets: Collection[str]) -> None:
        """What `sources` say does not reach `targets`."""
        for source in sources:
            for target in targets:
                self._links[source][self._addresses[target]].clear()

    def heal(self) -> None:
        for links in self._links.values():
            for link in links.values():
                link.set()

    async def close(self) -> None:
        await asyncio.gather(*(outlet.close() for outlet in self._outlets.values()))
