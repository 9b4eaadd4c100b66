"""StoryService of a participant: what has happened to an order there, as far as it is remembered."""

from collections.abc import Awaitable, Callable
from typing import Any

from utils.clocks.story import Story
from utils.pb import story_pb2, story_pb2_grpc
from utils.pb.convert import order_id_from_proto, story_to_proto

# The durable story of an order: given an order id and how many seconds there are.
Remember = Callable[[str, float], Awaitable[Story]]


class ParticipantStoryServicer(story_pb2_grpc.StoryServiceServicer):
    """Raises InvalidArgument, and what `remember` raises."""

    def __init__(self, remember: Remember) -> None:
        self._remember = remember

    async def GetStory(self, request: story_pb2.GetStoryRequest, context: Any) -> story_pb2.GetStoryResponse:
        story = await self._remember(order_id_from_proto(request.order_id), context.time_remaining())
        return story_pb2.GetStoryResponse(events=story_to_proto(story))
