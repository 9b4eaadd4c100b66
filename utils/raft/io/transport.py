"""Messages between nodes: from each node to each other one stream, on which messages travel in batches.

Raft bears lost, late and repeated messages, so nothing here waits for a peer: what does not fit is dropped.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import grpc

from utils.observe.logging import get_logger
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.core.messages import Message
from utils.raft.io.codec import message_to_proto
from utils.rpc.outbox import Outbox
from utils.rpc.transport import INSECURE, Credentials, backoff_s, open_channel

log = get_logger()

# The core bounds what one peer has not acknowledged; this bounds what a peer that is away leaves lying here.
MESSAGES_WAITING_MAX = 128
# Well below the largest message that a server takes.
_BATCH_BYTES_MAX = 1024 * 1024
# A peer that is stopped or cut off takes writes in silence for a long time. Who has been written to and has said
# nothing for this long gets a new connection.
_SILENCE_S_MAX = 1.5


class Transport(Protocol):
    """Carries messages to peers, as well as it can."""

    def start(self) -> None: ...

    def send(self, messages: Sequence[Message]) -> None:
        """Never blocks. Messages to nodes that are not peers are dropped, too."""

    def heard(self, peer: str) -> None:
        """A message has come from `peer`."""

    async def close(self) -> None: ...


class GrpcTransport:
    """One link to each peer, all in one event loop."""

    def __init__(
        self, *, cluster_id: str, node_id: str, peers: dict[str, str], credentials: Credentials = INSECURE
    ) -> None:
        self._links = {
            peer: _Link(peer, address, cluster_id, credentials) for peer, address in peers.items() if peer != node_id
        }

    def start(self) -> None:
        for link in self._links.values():
            link.start()

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if link := self._links.get(message.recipient):
                link.send(message)

    def heard(self, peer: str) -> None:
        if link := self._links.get(peer):
            link.heard()

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()))


class _SilentError(Exception):
    """The peer takes messages and says nothing."""


class _Link:
    def __init__(self, peer: str, address: str, cluster_id: str, credentials: Credentials) -> None:
        self._peer = peer
        self._address = address
        self._cluster_id = cluster_id
        self._credentials = credentials
        self._outbox: Outbox[Message] = Outbox()
        self._task: asyncio.Task[None] | None = None
        self._unanswered_since: float | None = None
        self._written_at = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def send(self, message: Message) -> None:
        if len(self._outbox) < MESSAGES_WAITING_MAX:
            self._outbox.put(message)

    def heard(self) -> None:
        self._unanswered_since = None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        task = asyncio.current_task()
        attempt = 0
        # Cancelling is looked at, too: an error at the same moment can take a cancellation's place.
        while task is not None and not task.cancelling():
            # A new channel each time: a connection that a partition left hanging would hold up the next stream, too.
            channel = open_channel(self._address, self._credentials)
            stream = raft_pb2_grpc.RaftServiceStub(channel).Deliver()
            self._unanswered_since = None
            try:
                await self._write(stream, await self._outbox.take())
                if attempt > 0:
                    log.info("a peer is reached again", peer=self._peer)
                attempt = 0
                while True:
                    await self._write(stream, await self._outbox.take())
            except Exception as error:  # noqa: BLE001 gRPC has many ways to say it; the answer is always a new stream
                attempt += 1
                if attempt == 1:
                    log.warning("a peer is not reached", peer=self._peer, address=self._address, why=_why(error))
            finally:
                stream.cancel()
                await channel.close()
            await asyncio.sleep(backoff_s(attempt))

    async def _write(self, stream: Any, messages: Sequence[Message]) -> None:
        now = asyncio.get_running_loop().time()
        if self._unanswered_since is None or now - self._written_at > _SILENCE_S_MAX:
            self._unanswered_since = now
        elif now - self._unanswered_since > _SILENCE_S_MAX:
            raise _SilentError(f"silent for {_SILENCE_S_MAX} s")
        self._written_at = now
        for batch in _split(messages, self._cluster_id):
            async with asyncio.timeout(_SILENCE_S_MAX):
                await stream.write(batch)


def _split(messages: Sequence[Message], cluster_id: str) -> Iterator[raft_pb2.MessageBatch]:
    batch = raft_pb2.MessageBatch(cluster_id=cluster_id)
    size = 0
    for message in messages:
        proto = message_to_proto(message)
        size += proto.ByteSize()
        if batch.messages and size > _BATCH_BYTES_MAX:
            yield batch
            batch = raft_pb2.MessageBatch(cluster_id=cluster_id)
            size = proto.ByteSize()
        batch.messages.append(proto)
    yield batch


def _why(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.details() or error.code().name
    return str(error) or type(error).__name__
