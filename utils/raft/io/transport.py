"""Messages between nodes: from each node to each other one stream, on which messages travel in batches.

Raft bears lost, late and repeated messages, so nothing here waits for a peer: what does not fit is dropped.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import grpc

from utils.observe.logging import get_logger
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.core.messages import Message
from utils.raft.io.addresses import Addresses
from utils.raft.io.codec import message_to_proto
from utils.rpc.outbox import Outbox
from utils.rpc.transport import Credentials, backoff_s, open_channel, own_credentials

log = get_logger()

# The core bounds what one peer has not acknowledged; this bounds what a peer that is away leaves lying here.
MESSAGES_WAITING_MAX = 128
# Well below the largest message that a server takes.
_BATCH_BYTES_MAX = 1024 * 1024
# A peer that is stopped or cut off takes writes in silence for a long time. Who has been written to and has said
# nothing for this long gets a new connection.
_SILENCE_S_MAX = 1.5
# To members, and to some who are no members or not yet, and have asked something.
LINKS_MAX = 64


class Transport(Protocol):
    """Carries messages to peers, as well as it can."""

    def start(self, addresses: Addresses) -> None:
        """`addresses`: where peers are, also those who come later."""

    def send(self, messages: Sequence[Message]) -> None:
        """Never blocks. Messages to this node itself, or to nodes without a known address, are dropped."""

    def heard(self, peer: str) -> None:
        """A message has come from `peer`."""

    def keep(self, peers: Collection[str]) -> None:
        """Ends what leads to others, until something is sent to them again."""

    async def close(self) -> None: ...


class GrpcTransport:
    """One link to each peer, from the first message to it on, all in one event loop."""

    def __init__(self, *, cluster_id: str, node_id: str, credentials: Credentials | None = None) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._credentials = credentials or own_credentials()
        self._addresses: Addresses | None = None
        self._links: dict[str, _Link] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def start(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if link := self._links.get(message.recipient) or self._open(message.recipient):
                link.send(message)

    def keep(self, peers: Collection[str]) -> None:
        for peer in self._links.keys() - set(peers):
            task = asyncio.create_task(self._links.pop(peer).close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def heard(self, peer: str) -> None:
        if link := self._links.get(peer):
            link.heard()

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._ending)

    def _open(self, peer: str) -> "_Link | None":
        if self._addresses is None or peer == self._node_id or self._addresses.of(peer) is None:
            return None
        if len(self._links) >= LINKS_MAX:
            return None
        batches = _Batches(self._cluster_id, self._addresses.own)
        link = self._links[peer] = _Link(peer, self._addresses, batches, self._credentials)
        return link


class _SilentError(Exception):
    """The peer takes messages and says nothing."""


class _Link:
    def __init__(self, peer: str, addresses: Addresses, batches: "_Batches", credentials: Credentials) -> None:
        self._peer = peer
        self._addresses = addresses
        self._batches = batches
        self._credentials = credentials
        self._outbox: Outbox[Message] = Outbox()
        self._unanswered_since: float | None = None
        self._written_at = 0.0
        self._task = asyncio.create_task(self._run())

    def send(self, message: Message) -> None:
        if len(self._outbox) < MESSAGES_WAITING_MAX:
            self._outbox.put(message)

    def heard(self) -> None:
        self._unanswered_since = None

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        task = asyncio.current_task()
        attempt = failures = 0
        # Cancelling is looked at, too: an error at the same moment can take a cancellation's place.
        while task is not None and not task.cancelling():
            candidates = self._addresses.candidates(self._peer)
            address = candidates[failures % len(candidates)]
            # A new channel each time: a connection that a partition left hanging would hold up the next stream, too.
            version = self._credentials.version
            channel = open_channel(address, self._credentials)
            stream = raft_pb2_grpc.RaftServiceStub(channel).Deliver()
            self._unanswered_since = None
            try:
                await self._write(stream, await self._outbox.take())
                if attempt > 0:
                    log.info("a peer is reached again", peer=self._peer)
                attempt = 0
                while version is self._credentials.version:
                    await self._write(stream, await self._outbox.take())
            except Exception as error:  # noqa: BLE001 gRPC has many ways to say it; the answer is always a new stream
                attempt, failures = attempt + 1, failures + 1
                if attempt == 1:
                    why = self._credentials.trouble() or _why(error)
                    log.warning("a peer is not reached", peer=self._peer, address=address, why=why)
            finally:
                stream.cancel()
                await channel.close()
            if attempt > 0:
                await asyncio.sleep(backoff_s(attempt))

    async def _write(self, stream: Any, messages: Sequence[Message]) -> None:
        now = asyncio.get_running_loop().time()
        if self._unanswered_since is None or now - self._written_at > _SILENCE_S_MAX:
            self._unanswered_since = now
        elif now - self._unanswered_since > _SILENCE_S_MAX:
            raise _SilentError(f"silent for {_SILENCE_S_MAX} s")
        self._written_at = now
        for batch in self._batches.of(messages):
            async with asyncio.timeout(_SILENCE_S_MAX):
                await stream.write(batch)


class _Batches:
    """Messages of one node, as they travel."""

    def __init__(self, cluster_id: str, sender_address: str) -> None:
        self._cluster_id = cluster_id
        self._sender_address = sender_address

    def of(self, messages: Sequence[Message]) -> Iterator[raft_pb2.MessageBatch]:
        batch = self._empty()
        size = 0
        for message in messages:
            proto = message_to_proto(message)
            size += proto.ByteSize()
            if batch.messages and size > _BATCH_BYTES_MAX:
                yield batch
                batch = self._empty()
                size = proto.ByteSize()
            batch.messages.append(proto)
        yield batch

    def _empty(self) -> raft_pb2.MessageBatch:
        return raft_pb2.MessageBatch(cluster_id=self._cluster_id, sender_address=self._sender_address)


def _why(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.details() or error.code().name
    return str(error) or type(error).__name__
