"""Streams between nodes: who is let in, and what becomes of a peer that is away or silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.core.messages import Message, PreVoteRequest, PreVoteResponse, TimeoutNowRequest
from utils.raft.core.ready import Role
from utils.raft.io import transport as module
from utils.raft.io.addresses import Addresses
from utils.raft.io.codec import message_to_proto
from utils.raft.io.servicer import RaftServicer
from utils.raft.io.status import RaftStatus
from utils.raft.io.transport import GrpcTransport
from utils.rpc.channel import Channel
from utils.rpc.server import RpcServer

_WAIT_S_MAX = 20.0


class Inbox:
    """Stands for node_2."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.heard_from: set[str] = set()
        self.status = RaftStatus("node_2", Role.FOLLOWER, 3, "node_1", "host:1", 4, 5, 6, ready=False)

    def receive(self, messages: list[Message], address: str = "") -> None:
        self.heard_from.add(address)
        for message in messages:
            self.messages.put_nowait(message)

    def is_stranger(self, sender: str) -> bool:
        return sender == "node_8"

    def stream_ended(self, peer: str) -> None:
        self.ended.put_nowait(peer)

    async def next(self) -> Message:
        async with asyncio.timeout(_WAIT_S_MAX):
            return await self.messages.get()


@contextlib.asynccontextmanager
async def _served(servicer: raft_pb2_grpc.RaftServiceServicer, port: int = 0) -> AsyncIterator[int]:
    server = RpcServer(f"127.0.0.1:{port}", node_id="node_2")
    raft_pb2_grpc.add_RaftServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(grace_s=0)


def _servicer(inbox: Inbox) -> RaftServicer:
    return RaftServicer(inbox, cluster_id="c", node_id="node_2")


@contextlib.asynccontextmanager
async def _transport(port: int) -> AsyncIterator[GrpcTransport]:
    peers = {"node_1": "127.0.0.1:1", "node_2": f"127.0.0.1:{port}"}
    transport = GrpcTransport(cluster_id="c", node_id="node_1")
    transport.start(Addresses("node_1", peers))
    try:
        yield transport
    finally:
        await transport.close()


def _message(term: int, *, sender: str = "node_1", recipient: str = "node_2") -> Message:
    return Message(sender, recipient, PreVoteRequest(term, 0, 0))


async def test_the_end_of_a_peers_stream_is_noticed_at_once() -> None:
    inbox = Inbox()
    async with _served(_servicer(inbox)) as port:
        async with _transport(port) as transport:
            transport.send([_message(1)])
            await inbox.next()
            assert inbox.ended.empty()
        async with asyncio.timeout(_WAIT_S_MAX):
            assert await inbox.ended.get() == "node_1"


async def test_messages_arrive_in_order() -> None:
    inbox = Inbox()
    async with _served(_servicer(inbox)) as port, _transport(port) as transport:
        sent = [_message(term) for term in range(1, 101)]
        transport.send(sent)
        # To itself and to strangers: nobody is there to take them.
        transport.send([_message(1, recipient="node_1"), _message(1, recipient="node_9")])
        assert [await inbox.next() for _ in sent] == sent
        assert inbox.messages.empty()


async def test_a_peer_that_comes_back_is_reached_again() -> None:
    inbox = Inbox()
    async with contextlib.AsyncExitStack() as stack:
        async with _served(_servicer(inbox)) as port:
            transport = await stack.enter_async_context(_transport(port))
            transport.send([_message(1)])
            await inbox.next()
        transport.send([_message(2)])
        await stack.enter_async_context(_served(_servicer(inbox), port))

        async def send_until_heard() -> None:
            while inbox.messages.empty():
                transport.send([_message(3)])
                await asyncio.sleep(0.02)

        await asyncio.wait_for(send_until_heard(), _WAIT_S_MAX)


async def test_what_waits_for_a_peer_that_is_away_is_bounded() -> None:
    inbox = Inbox()
    async with _served(_servicer(inbox)) as port:
        pass
    async with _transport(port) as transport:
        count = 3 * module.MESSAGES_WAITING_MAX
        transport.send([_message(term) for term in range(1, count)])
        async with _served(_servicer(inbox), port):
            first = await inbox.next()
            transport.send([_message(count)])
            received = [first]
            while received[-1].body != PreVoteRequest(count, 0, 0):
                received.append(await inbox.next())
            assert len(received) <= module.MESSAGES_WAITING_MAX + 1


class Silent(raft_pb2_grpc.RaftServiceServicer):
    """Takes everything and says nothing."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[None] = asyncio.Queue()

    async def Deliver(self, request_iterator: Any, context: Any) -> raft_pb2.StreamEnd:
        self.streams.put_nowait(None)
        async for _ in request_iterator:
            pass
        return raft_pb2.StreamEnd()

    async def GetRaftStatus(self, request: Any, context: Any) -> raft_pb2.GetRaftStatusResponse:
        raise NotImplementedError


async def _send_for_ever(transport: GrpcTransport) -> None:
    while True:
        transport.send([_message(1)])
        await asyncio.sleep(0.02)


async def test_a_peer_that_says_nothing_gets_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE_S_MAX", 0.3)
    silent = Silent()
    async with _served(silent) as port, _transport(port) as transport:
        sending = asyncio.create_task(_send_for_ever(transport))
        for _ in range(2):
            await asyncio.wait_for(silent.streams.get(), _WAIT_S_MAX)
        sending.cancel()


async def test_a_peer_that_answers_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE_S_MAX", 0.3)
    inbox = Inbox()
    streams = 0

    class Counted(RaftServicer):
        async def Deliver(self, request_iterator: Any, context: Any) -> raft_pb2.StreamEnd:
            nonlocal streams
            streams += 1
            return await super().Deliver(request_iterator, context)

    servicer = Counted(inbox, cluster_id="c", node_id="node_2")
    async with _served(servicer) as port, _transport(port) as transport:
        until = asyncio.get_running_loop().time() + 1.0
        while asyncio.get_running_loop().time() < until:
            transport.send([_message(1)])
            await inbox.next()
            transport.heard("node_2")
            await asyncio.sleep(0.02)
        # A pause is no silence of the peer: there was nothing to answer.
        await asyncio.sleep(0.5)
        transport.send([_message(2)])
        await inbox.next()
    assert streams == 1


@pytest.mark.parametrize(
    ("cluster_id", "message", "why"),
    [
        ("other", _message(1), "for cluster 'other'"),
        ("c", _message(1, sender=""), "'' is no peer"),
        ("c", Message("node_8", "node_2", TimeoutNowRequest(1)), "'node_8' is no member"),
        ("c", _message(1, sender="node_2"), "'node_2' is no peer"),
        ("c", _message(1, recipient="node_3"), "for 'node_3'"),
        ("c", Message("node_1", "node_2", PreVoteResponse(1, granted=True)), ""),
        # A candidate of a configuration that has not come here yet.
        ("c", _message(1, sender="node_9"), ""),
    ],
)
async def test_strangers_are_refused(cluster_id: str, message: Message, why: str) -> None:
    inbox = Inbox()
    async with _served(_servicer(inbox)) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = raft_pb2_grpc.RaftServiceStub(channel).Deliver()
        await stream.write(raft_pb2.MessageBatch(cluster_id=cluster_id, messages=[message_to_proto(message)]))
        if not why:
            assert await inbox.next() == message
            stream.cancel()
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(stream, _WAIT_S_MAX)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert why in (caught.value.details() or "")
        assert inbox.messages.empty()


async def test_stopping_ends_the_streams_of_peers() -> None:
    servicer = _servicer(Inbox())
    async with _served(servicer) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = raft_pb2_grpc.RaftServiceStub(channel).Deliver()
        await stream.write(raft_pb2.MessageBatch(cluster_id="c"))
        servicer.stop()
        assert await asyncio.wait_for(stream, _WAIT_S_MAX) == raft_pb2.StreamEnd()


async def test_a_node_tells_its_status() -> None:
    async with _served(_servicer(Inbox())) as port:
        channel = Channel(f"127.0.0.1:{port}")
        stub = raft_pb2_grpc.RaftServiceStub(channel)  # type: ignore[arg-type]
        response = await stub.GetRaftStatus(raft_pb2.GetRaftStatusRequest(), timeout=_WAIT_S_MAX)
        assert response == raft_pb2.GetRaftStatusResponse(
            node_id="node_2", cluster_id="c", role="follower", term=3, leader_id="node_1", leader_address="host:1",
            commit_index=4, last_applied=5, last_log_index=6, ready=False,
        )  # fmt: skip
        await channel.close()
