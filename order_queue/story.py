"""StoryService of the queue: where an order stands, how it came here, and who has it in hand."""

from typing import Any

from order_queue.claims import Claims
from order_queue.order_record import OrderRecord
from order_queue.queue_machine import QueueMachine
from order_queue.servicer import Archived, record_to_proto
from utils.pb import story_pb2, story_pb2_grpc
from utils.pb.convert import order_id_from_proto, story_to_proto
from utils.raft.consensus import Consensus
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import NotFound


class StoryServicer(story_pb2_grpc.StoryServiceServicer):
    def __init__(
        self,
        node: Consensus,
        machine: QueueMachine,
        claims: Claims,
        archived: Archived,
    ) -> None:
        self._node = node
        self._machine = machine
        self._claims = claims
        self._archived = archived

    async def GetStory(self, request: story_pb2.GetStoryRequest, context: Any) -> story_pb2.GetStoryResponse:
        """Linearizable, but for the claim. Raises InvalidArgument, NotFound, NotLeader, Unavailable."""
        order_id = order_id_from_proto(request.order_id)
        with raft_errors():
            await self._node.read_barrier(timeout_s=context.time_remaining())
        if self._machine.is_forgotten(order_id):
            record: OrderRecord | None = await self._archived(order_id)
        else:
            record = self._machine.record(order_id)
        if record is None:
            raise NotFound(f"order {order_id} is not known")
        response = story_pb2.GetStoryResponse(events=story_to_proto(record.story), record=record_to_proto(record))
        if not record.ended_index and order_id in self._claims.held:
            response.claimed_by, response.claimed_in_epoch = self._claims.executor_id, self._claims.epoch
        return response
