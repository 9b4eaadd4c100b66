"""The executors' gRPC services: what participants in doubt and people may ask."""

from typing import Any

from order_executor.executor import Executor
from order_executor.ports import Election
from utils.pb import order_executor_pb2, two_phase_commit_pb2
from utils.pb.order_executor_pb2_grpc import OrderExecutorServiceServicer
from utils.pb.two_phase_commit_pb2_grpc import CoordinatorServiceServicer
from utils.rpc.errors import InvalidArgument, NotLeader
from utils.two_phase_commit.convert import attempt_from_proto, resolution_to_proto

# A participant asks about what it has in doubt in pages of this size at most.
ATTEMPTS_MAX = 1_024


def check_leads(election: Election) -> None:
    """Raises NotLeader, also on a leader that does not yet know all decisions."""
    status = election.status
    if not status.ready:
        raise NotLeader(
            f"{status.node_id} does not lead the executors",
            leader_id=status.leader_id or "",
            leader_address=status.leader_address or "",
        )


class CoordinatorServicer(CoordinatorServiceServicer):
    def __init__(self, election: Election, executor: Executor) -> None:
        self._election = election
        self._executor = executor

    async def Resolve(
        self, request: two_phase_commit_pb2.ResolveRequest, context: Any
    ) -> two_phase_commit_pb2.ResolveResponse:
        """Raises NotLeader, also on a leader that does not yet know all decisions."""
        if len(request.attempts) > ATTEMPTS_MAX:
            raise InvalidArgument(f"at most {ATTEMPTS_MAX} attempts may be asked about at once")
        attempts = [attempt_from_proto(message) for message in request.attempts]
        check_leads(self._election)
        return two_phase_commit_pb2.ResolveResponse(
            resolutions=[resolution_to_proto(self._executor.resolve(attempt)) for attempt in attempts]
        )


class OrderExecutorServicer(OrderExecutorServiceServicer):
    def __init__(self, election: Election, executor: Executor) -> None:
        self._election = election
        self._executor = executor

    async def GetExecutorStatus(
        self, request: order_executor_pb2.GetExecutorStatusRequest, context: Any
    ) -> order_executor_pb2.GetExecutorStatusResponse:
        """From any node: what it knows. `orders_finished` counts what it has heard of."""
        status = self._election.status
        return order_executor_pb2.GetExecutorStatusResponse(
            node_id=status.node_id,
            is_leader=status.ready,
            epoch=status.epoch,
            leader_id=status.leader_id or "",
            orders_in_flight=self._executor.orders_in_flight,
            orders_finished=self._election.decisions.finished_count,
        )
