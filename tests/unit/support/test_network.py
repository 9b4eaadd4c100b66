"""What a network that can be cut delivers, and when."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.network import Network

# Nothing comes within this time: longer than anything takes that is not cut.
SILENCE_S = 0.5
ARRIVAL_S_MAX = 10.0


@dataclass
class End:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, text: bytes) -> None:
        self.writer.write(text)

    async def hears(self, text: bytes) -> None:
        async with asyncio.timeout(ARRIVAL_S_MAX):
            assert await self.reader.readexactly(len(text)) == text

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), SILENCE_S)


class Pair:
    """ "caller" opens connections to "server" through its proxy."""

    def __init__(self) -> None:
        self.network = Network(["caller", "server"], lambda: {"server": self.address})
        self.accepted: asyncio.Queue[End] = asyncio.Queue()
        self._ends: list[End] = []

    async def connect(self) -> End:
        host, _, port = self.network.proxy_of("caller").rpartition(":")
        end = End(*await asyncio.open_connection(host, int(port)))
        self._ends.append(end)
        end.say(f"CONNECT {self.address} HTTP/1.1\r\n\r\n".encode())
        return end

    async def connected(self) -> tuple[End, End]:
        end = await self.connect()
        await end.hears(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return end, await self.accepted.get()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(End(reader, writer))
        self.accepted.put_nowait(self._ends[-1])

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield
        for end in self._ends:
            end.writer.transport.abort()
        server.close()
        await server.wait_closed()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.network.start()
    async with pair.listening():
        yield pair
    await pair.network.close()


async def test_what_one_sends_is_held_and_what_it_is_sent_arrives(pair: Pair) -> None:
    caller, server = await pair.connected()
    pair.network.cut(["caller"], ["server"])
    caller.say(b"lost")
    server.say(b"heard")
    await caller.hears(b"heard")
    await server.hears_nothing()
    pair.network.heal()
    await server.hears(b"lost")


async def test_answers_are_cut_off_on_connections_that_others_have_opened(pair: Pair) -> None:
    caller, server = await pair.connected()
    pair.network.cut(["server"], ["caller"])
    caller.say(b"question")
    await server.hears(b"question")
    server.say(b"answer")
    await caller.hears_nothing()
    pair.network.heal()
    await caller.hears(b"answer")


async def test_nobody_sees_that_a_connection_ends_while_it_is_cut(pair: Pair) -> None:
    caller, server = await pair.connected()
    pair.network.cut(["server"], ["caller"])
    server.writer.transport.abort()
    await caller.hears_nothing()
    pair.network.heal()
    async with asyncio.timeout(ARRIVAL_S_MAX):
        assert await caller.reader.read() == b""


@pytest.mark.parametrize(("sender", "receiver"), [("caller", "server"), ("server", "caller")])
async def test_no_connection_is_made_or_refused_while_either_way_is_cut(pair: Pair, sender: str, receiver: str) -> None:
    pair.network.cut([sender], [receiver])
    caller = await pair.connect()
    await caller.hears_nothing()
    assert pair.accepted.empty()
    pair.network.heal()
    await caller.hears(b"HTTP/1.1 200 Connection established\r\n\r\n")


async def test_what_was_held_arrives_when_tcp_would_repeat_it(pair: Pair) -> None:
    """After 0.2 s, 0.6 s, 1.4 s: not at the moment of healing."""
    caller, server = await pair.connected()
    loop = asyncio.get_running_loop()
    pair.network.cut(["caller"], ["server"])
    said_at = loop.time()
    caller.say(b"late")
    await asyncio.sleep(0.8)
    pair.network.heal()
    await server.hears(b"late")
    assert loop.time() - said_at >= 1.4
