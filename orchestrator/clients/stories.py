"""What each part of the system knows of an order's way, over gRPC."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from orchestrator.clients.order_queue import order_record
from orchestrator.ports import OrderState
from orchestrator.problems import ComponentUnavailable, OrderNotFound
from orchestrator.story import Attempt, Claim, OrderStory
from utils.clocks.story import DATABASE, ORDER_EXECUTOR, PAYMENT, Event
from utils.pb import story_pb2, story_pb2_grpc
from utils.pb.convert import story_from_proto
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import NotFound, ServiceError

_TIMEOUT_S: Final = 3.0


class StoriesClient:
    """Serves `orchestrator.story.Stories`."""

    def __init__(
        self,
        runtime: BlockingRuntime,
        *,
        order_queue: Sequence[str],
        order_executor: Sequence[str],
        db_nodes: Sequence[str],
        payment: str,
    ) -> None:
        self._runtime = runtime
        runtime.run(self._open(order_queue, order_executor, db_nodes, payment))

    async def _open(
        self, order_queue: Sequence[str], order_executor: Sequence[str], db_nodes: Sequence[str], payment: str
    ) -> None:
        self._queue = ClusterChannel(order_queue)
        self._others: dict[str, Channel | ClusterChannel] = {
            ORDER_EXECUTOR: ClusterChannel(order_executor),
            DATABASE: ClusterChannel(db_nodes),
            PAYMENT: Channel(payment),
        }

    def story(self, order_id: str) -> OrderStory:
        return self._runtime.run(self._story(order_id))

    def close(self) -> None:
        self._runtime.run(self._close())

    async def _close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in (self._queue, *self._others.values())))

    async def _story(self, order_id: str) -> OrderStory:
        # First: all that led to what it knows, the others then know too.
        told = await self._asked(self._queue, order_id)
        if isinstance(told, NotFound):
            raise OrderNotFound("There is no order with this id.")
        if isinstance(told, ServiceError):
            raise ComponentUnavailable("The order cannot be asked for just now. Please try again.") from told
        claim = Claim(told.claimed_by, told.claimed_in_epoch) if told.claimed_by else None
        story = OrderStory(order_record(told.record), told.record.position, _events(told), claim)
        if story.record.state is not OrderState.PENDING:
            return story
        answers = await asyncio.gather(*(self._asked(channel, order_id) for channel in self._others.values()))
        return _joined(story, dict(zip(self._others, answers, strict=True)))

    async def _asked(self, channel: Channel | ClusterChannel, order_id: str) -> Any:
        """The answer, or the error that there was instead."""
        stub = story_pb2_grpc.StoryServiceStub(channel)  # type: ignore[arg-type]
        try:
            return await stub.GetStory(story_pb2.GetStoryRequest(order_id=order_id), timeout=_TIMEOUT_S)
        except ServiceError as error:
            return error


def _joined(story: OrderStory, answers: dict[str, Any]) -> OrderStory:
    missing = {part: answer.message for part, answer in answers.items() if isinstance(answer, ServiceError)}
    told = {part: answer for part, answer in answers.items() if part not in missing}
    # The executors tell what the participants have acknowledged, too.
    events = (*story.events, *(event for answer in told.values() for event in _events(answer)))
    executors = told.get(ORDER_EXECUTOR)
    return msgspec.structs.replace(
        story,
        events=tuple({(event.host, event.clock[event.host]): event for event in events}.values()),
        under_way=_under_way(executors) if executors is not None else None,
        missing=missing,
    )


def _under_way(answer: story_pb2.GetStoryResponse) -> Attempt | None:
    attempt = answer.under_way
    return (attempt.epoch, attempt.number) if answer.HasField("under_way") else None


def _events(answer: story_pb2.GetStoryResponse) -> tuple[Event, ...]:
    return story_from_proto(answer.events)
