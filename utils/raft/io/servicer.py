"""RaftService: what peers and operators may ask of a node."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from utils.identity.certificate import Certificate
from utils.observe.logging import get_logger
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.core.configuration import is_address, is_node_id
from utils.raft.core.messages import Answer, Message, PreVoteRequest
from utils.raft.io.codec import message_from_proto
from utils.raft.io.status import RaftStatus
from utils.raft.io.validation import check_message
from utils.rpc.errors import PermissionDenied
from utils.rpc.gate import certificate_of, check_sender

log = get_logger()


class Receiver(Protocol):
    """The node, as its servicer sees it."""

    @property
    def status(self) -> RaftStatus: ...

    def receive(self, messages: list[Message], address: str = "") -> None:
        """From a sender that says it is reached at `address`. Never blocks."""

    def is_stranger(self, sender: str) -> bool:
        """`sender` is no member, as a leader who is heard would know."""

    def stream_ended(self, peer: str) -> None:
        """What `peer` has sent so far it sent on a stream that has ended. Never blocks."""


class RaftServicer(raft_pb2_grpc.RaftServiceServicer):
    def __init__(self, node: Receiver, *, cluster_id: str, node_id: str) -> None:
        self._node = node
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ends the streams of peers, which would hold up the server's own stop."""
        self._stopped.set()

    async def Deliver(self, request_iterator: AsyncIterator[raft_pb2.MessageBatch], context: Any) -> raft_pb2.StreamEnd:
        senders: set[str] = set()
        peer = certificate_of(context)
        reader = asyncio.create_task(self._read(request_iterator, senders, peer))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((reader, stopped), return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and (error := reader.exception()) is not None:
                if not isinstance(error, ValueError | DecodeError | PermissionDenied):
                    raise error
                log.error("a stream was refused", why=str(error), peer=context.peer())
                denied = isinstance(error, PermissionDenied)
                code = grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.INVALID_ARGUMENT
                await context.abort(code, str(error))
        finally:
            reader.cancel()
            stopped.cancel()
            await asyncio.gather(reader, stopped, return_exceptions=True)
            for sender in senders:
                self._node.stream_ended(sender)
        return raft_pb2.StreamEnd()

    async def GetRaftStatus(
        self, request: raft_pb2.GetRaftStatusRequest, context: Any
    ) -> raft_pb2.GetRaftStatusResponse:
        return status_to_proto(self._node.status, self._cluster_id)

    async def _read(
        self, batches: AsyncIterator[raft_pb2.MessageBatch], senders: set[str], peer: Certificate | None
    ) -> None:
        """Adds to `senders`. Raises ValueError and DecodeError: whoever sends this does not mean us, or makes no sense;
        PermissionDenied, for a sender whose certificate is another's or has expired meanwhile.

        A sender that is no member is let in while no leader is heard: this node may not know the newest configuration.
        """
        async for batch in batches:
            if peer is not None and peer.expired(datetime.now(UTC)):
                raise PermissionDenied(f"the certificate of {peer.identity.uri} has expired")
            if batch.cluster_id != self._cluster_id:
                raise ValueError(f"a message for cluster {batch.cluster_id!r} came to {self._cluster_id!r}")
            messages = [message_from_proto(proto) for proto in batch.messages]
            for message in messages:
                if peer is not None:
                    check_sender(peer.identity, message.sender)
                if message.recipient != self._node_id:
                    raise ValueError(f"a message for {message.recipient!r} came to {self._node_id!r}")
                if message.sender == self._node_id or not is_node_id(message.sender):
                    raise ValueError(f"{message.sender!r} is no peer of {self._node_id!r}")
                if not isinstance(message.body, Answer | PreVoteRequest) and self._node.is_stranger(message.sender):
                    raise ValueError(f"{message.sender!r} is no member of {self._cluster_id!r}")
                check_message(message)
                senders.add(message.sender)
            if batch.sender_address and not is_address(batch.sender_address):
                raise ValueError(f"{batch.sender_address!r} is no address")
            self._node.receive(messages, batch.sender_address)


def status_to_proto(status: RaftStatus, cluster_id: str) -> raft_pb2.GetRaftStatusResponse:
    return raft_pb2.GetRaftStatusResponse(
        node_id=status.node_id,
        cluster_id=cluster_id,
        role=status.role.value,
        term=status.term,
        leader_id=status.leader_id or "",
        leader_address=status.leader_address or "",
        commit_index=status.commit_index,
        last_applied=status.last_applied,
        last_log_index=status.last_log_index,
        ready=status.ready,
    )
