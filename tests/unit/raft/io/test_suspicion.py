"""A peer whose stream has ended is suspected only if its port is closed."""

import asyncio

from tests.support.raft_cluster import free_ports
from utils.raft.io.suspicion import Suspicion

_WAIT_S_MAX = 20.0


async def test_a_peer_at_whose_address_nobody_listens_is_suspected() -> None:
    suspected: asyncio.Queue[str] = asyncio.Queue()
    suspicion = Suspicion(suspected.put_nowait)
    [port] = free_ports(1)
    suspicion.stream_ended("node_2", f"127.0.0.1:{port}")
    async with asyncio.timeout(_WAIT_S_MAX):
        assert await suspected.get() == "node_2"
    await suspicion.stop()


async def test_a_peer_that_still_listens_is_not_suspected() -> None:
    suspected: asyncio.Queue[str] = asyncio.Queue()
    suspicion = Suspicion(suspected.put_nowait)
    connected = asyncio.Event()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        connected.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        suspicion.stream_ended("node_2", f"127.0.0.1:{port}")
        async with asyncio.timeout(_WAIT_S_MAX):
            await connected.wait()
        # A later check of a closed port shows that the first one is over.
        [closed] = free_ports(1)
        suspicion.stream_ended("node_3", f"127.0.0.1:{closed}")
        async with asyncio.timeout(_WAIT_S_MAX):
            assert await suspected.get() == "node_3"
    assert suspected.empty()
    await suspicion.stop()


async def test_a_name_that_leads_nowhere_tells_nothing() -> None:
    suspected: list[str] = []
    suspicion = Suspicion(suspected.append)
    await suspicion._check("node_2", "no-such-host.invalid:1")
    assert suspected == []
