"""The messages of Bully between the executors: each a call of its own, whose answer says nothing."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from order_executor.bully.core import Kind, Message
from utils.pb import bully_pb2 as pb, bully_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import InvalidArgument, ServiceError
from utils.rpc.gate import check_sender

# To one peer. A peer that is stopped takes calls and does not answer; what it misses is repeated or does not matter.
CALLS_MAX = 8

_KINDS_TO_PROTO = {
    Kind.PING: pb.BullyMessage.KIND_PING,
    Kind.PONG: pb.BullyMessage.KIND_PONG,
    Kind.ELECTION: pb.BullyMessage.KIND_ELECTION,
    Kind.ANSWER: pb.BullyMessage.KIND_ANSWER,
    Kind.COORDINATOR: pb.BullyMessage.KIND_COORDINATOR,
}
_KINDS_FROM_PROTO = {number: kind for kind, number in _KINDS_TO_PROTO.items()}


class BullyServicer(bully_pb2_grpc.BullyServiceServicer):
    """`receive` is called with each message and the highest epoch that its sender knows of."""

    def __init__(self, node_id: str, peers: Mapping[str, str], receive: Callable[[Message, int], None]) -> None:
        self._node_id = node_id
        self._others = frozenset(peers) - {node_id}
        self._receive = receive

    async def Tell(self, request: pb.BullyMessage, context: Any) -> pb.BullyMessageTaken:
        check_sender(context.caller, request.sender)
        kind = _KINDS_FROM_PROTO.get(request.kind)
        if kind is None:
            raise InvalidArgument(f"a message of kind {request.kind} is not known")
        if request.sender not in self._others:
            raise InvalidArgument("the sender is none of the other executors")
        self._receive(Message(request.sender, self._node_id, kind, request.leads), request.epoch)
        return pb.BullyMessageTaken()


class Messenger:
    """Sends and forgets: whatever is lost, the algorithm bears."""

    def __init__(self, node_id: str, peers: Mapping[str, str], timeout_s: float) -> None:
        self._channels = {peer: Channel(address) for peer, address in peers.items() if peer != node_id}
        self._timeout_s = timeout_s
        self._calls: dict[str, set[asyncio.Task[None]]] = {peer: set() for peer in self._channels}

    def send(self, message: Message, epoch: int) -> None:
        calls = self._calls[message.recipient]
        if len(calls) < CALLS_MAX:
            task = asyncio.create_task(self._tell(message, epoch))
            calls.add(task)
            task.add_done_callback(calls.discard)

    async def close(self) -> None:
        for task in [task for calls in self._calls.values() for task in calls]:
            task.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def _tell(self, message: Message, epoch: int) -> None:
        stub = bully_pb2_grpc.BullyServiceStub(self._channels[message.recipient])  # type: ignore[arg-type]
        request = pb.BullyMessage(
            sender=message.sender, kind=_KINDS_TO_PROTO[message.kind], leads=message.leads, epoch=epoch
        )
        try:
            await stub.Tell(request, timeout=self._timeout_s)
        except ServiceError:
            return
