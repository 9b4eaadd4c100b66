"""The network between processes: what each opens goes through an HTTP proxy of its own, which can fall silent.

gRPC finds the proxy by `grpc_proxy` and tells it the target (CONNECT, RFC 9110, 9.3.6); nothing else knows of it.
A way that is cut takes bytes and delivers none, as a network that drops packets: no connection is refused, and none is
seen to be closed. When it is healed, what it has taken arrives late, as late as TCP would repeat it.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from utils.rpc.blocking import BlockingRuntime

_CHUNK_BYTES = 64 * 1024
_FIRST_REPETITION_S = 0.2


class _Way:
    """One direction of what a process opens to one address."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.heal()

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    async def opened(self) -> None:
        await self._open.wait()

    async def passed(self) -> None:
        """What is under way now arrives: at once, or after the way is healed, when its sender next repeats it."""
        if self._open.is_set():
            return
        loop = asyncio.get_running_loop()
        repeated_at, timeout_s = loop.time(), _FIRST_REPETITION_S
        while not self._open.is_set():
            await self._open.wait()
            # Each repetition waits twice as long as the one before (RFC 6298, section 5.5).
            while repeated_at < loop.time():
                repeated_at, timeout_s = repeated_at + timeout_s, 2 * timeout_s
            await asyncio.sleep(repeated_at - loop.time())


class _Link:
    def __init__(self) -> None:
        self.there = _Way()
        self.back = _Way()

    async def opened(self) -> None:
        await self.there.opened()
        await self.back.opened()


class _Outlet:
    """All that one process opens."""

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self.proxy = ""

    def link(self, address: str) -> _Link:
        return self._links.setdefault(address, _Link())

    def heal(self) -> None:
        for link in self._links.values():
            link.there.heal()
            link.back.heal()

    async def start(self) -> None:
        self.proxy = f"127.0.0.1:{await self._listen(self._open_tunnel)}"

    async def entrance(self, target_of: Callable[[], str | None]) -> int:
        """A port that leads to wherever `target_of` says, for what knows no proxy."""

        async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if target := target_of():
                await self._carry(reader, writer, target, greeting=b"")
            else:
                writer.transport.abort()

        return await self._listen(enter)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
    ) -> int:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = asyncio.create_task(serve(reader, writer))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _open_tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return
        target = head.split()[1].decode()
        await self._carry(reader, writer, target, greeting=b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, *, greeting: bytes
    ) -> None:
        """Until one side closes, or dies; the other one sees it once the link is open."""
        writers = [writer]
        try:
            link = self.link(target)
            await link.opened()
            host, _, port = target.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writers.append(far_writer)
            writer.write(greeting)
            pumps = [
                asyncio.create_task(_pump(reader, far_writer, link.there)),
                asyncio.create_task(_pump(far_reader, writer, link.back)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                await link.opened()
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            # The other process is not there, or this one is gone already.
            return
        finally:
            for one in writers:
                one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        await way.passed()
        writer.write(data)
        await writer.drain()


class Network:
    """Between all pairs of `names`. `where` says at which host:port those listen now that listen somewhere."""

    def __init__(self, names: Collection[str], where: Callable[[], Mapping[str, str]]) -> None:
        self._outlets = {name: _Outlet() for name in names}
        self._where = where

    async def start(self) -> None:
        for outlet in self._outlets.values():
            await outlet.start()

    def proxy_of(self, name: str) -> str:
        """host:port of the proxy through which it has to open all its connections."""
        return self._outlets[name].proxy

    async def entrance(self, source: str, target: str) -> int:
        """A port of what `source` opens to `target`, wherever that listens when a connection is made."""
        return await self._outlets[source].entrance(lambda: self._where().get(target))

    def settings_of(self, name: str) -> dict[str, str]:
        """What tells gRPC of it: for the environment of the process."""
        return {"grpc_proxy": f"http://{self.proxy_of(name)}", "no_grpc_proxy": "", "no_proxy": ""}

    def cut(self, senders: Collection[str], receivers: Collection[str]) -> None:
        """What `senders` send does not reach `receivers`, whoever has opened the connection."""
        addresses = self._where()
        for sender in senders:
            for receiver in receivers:
                if address := addresses.get(receiver):
                    self._outlets[sender].link(address).there.cut()
                if address := addresses.get(sender):
                    self._outlets[receiver].link(address).back.cut()

    def heal(self) -> None:
        for outlet in self._outlets.values():
            outlet.heal()

    async def close(self) -> None:
        await asyncio.gather(*(outlet.close() for outlet in self._outlets.values()))


class NetworkThread:
    """A Network for a program of threads; carries from the first moment on."""

    def __init__(self, names: Collection[str], where: Callable[[], Mapping[str, str]]) -> None:
        self._network = Network(names, where)
        self._runtime = BlockingRuntime()
        self._runtime.run(self._network.start())

    def close(self) -> None:
        self._runtime.run(self._network.close())
        self._runtime.close()

    def entrance(self, source: str, target: str) -> int:
        return self._runtime.run(self._network.entrance(source, target))

    def settings_of(self, name: str) -> dict[str, str]:
        return self._network.settings_of(name)

    def cut(self, senders: Collection[str], receivers: Collection[str]) -> None:
        async def cut() -> None:
            self._network.cut(senders, receivers)

        self._runtime.run(cut())

    def heal(self) -> None:
        async def heal() -> None:
            self._network.heal()

        self._runtime.run(heal())
