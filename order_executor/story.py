"""StoryService of the executors: an order's decision, and what the leader is doing about an order without one."""

from typing import Any

from order_executor.executor import Executor
from order_executor.ports import Election
from order_executor.servicer import check_leads
from utils.pb import story_pb2, story_pb2_grpc
from utils.pb.convert import order_id_from_proto, story_to_proto
from utils.two_phase_commit.convert import attempt_to_proto


class StoryServicer(story_pb2_grpc.StoryServiceServicer):
    def __init__(self, election: Election, executor: Executor) -> None:
        self._election = election
        self._executor = executor

    async def GetStory(self, request: story_pb2.GetStoryRequest, context: Any) -> story_pb2.GetStoryResponse:
        """Raises InvalidArgument and NotLeader. A recorded decision is final, so it stays true whoever leads."""
        order_id = order_id_from_proto(request.order_id)
        check_leads(self._election)
        if (decision := self._election.decisions.decision(order_id)) is not None:
            return story_pb2.GetStoryResponse(events=story_to_proto(decision.story))
        if (in_hand := self._executor.story(order_id)) is not None:
            attempt, story = in_hand
            return story_pb2.GetStoryResponse(events=story_to_proto(story), under_way=attempt_to_proto(attempt))
        return story_pb2.GetStoryResponse()
