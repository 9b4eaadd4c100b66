"""The fenced log of decisions where it is kept: in the database."""

from collections.abc import Sequence

from order_executor.retry_policy import OPERATION_TIMEOUT_S
from utils.pb import decision_log_pb2 as pb, decision_log_pb2_grpc
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import Internal
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_convert import (
    command_to_proto,
    epoch_from_proto,
    epoch_to_proto,
    order_decision_from_proto,
)
from utils.two_phase_commit.decision_log import Command, DecisionLog
from utils.two_phase_commit.fenced_log import Epoch


class FencedLogClient:
    """A FencedLogKeeper (election.py). A call may reach the database twice, which changes nothing."""

    def __init__(self, database: ClusterChannel) -> None:
        self._stub = decision_log_pb2_grpc.DecisionLogServiceStub(database)  # type: ignore[arg-type]

    async def epoch(self) -> Epoch:
        response = await self._stub.GetEpoch(pb.GetEpochRequest(), timeout=OPERATION_TIMEOUT_S)
        return epoch_from_proto(response.epoch)

    async def raise_epoch(self, expected_number: int, node_id: str, incarnation: str) -> Epoch:
        request = pb.RaiseEpochRequest(expected_number=expected_number, node_id=node_id, incarnation=incarnation)
        response = await self._stub.RaiseEpoch(request, timeout=OPERATION_TIMEOUT_S)
        return epoch_from_proto(response.epoch)

    async def record(self, epoch: Epoch, commands: Sequence[Command]) -> list[OrderDecision | None]:
        request = pb.RecordDecisionsRequest(
            epoch=epoch_to_proto(epoch), commands=[command_to_proto(command) for command in commands]
        )
        response = await self._stub.RecordDecisions(request, timeout=OPERATION_TIMEOUT_S)
        if len(response.results) != len(commands):
            raise Internal("the database did not answer each command")
        return [
            order_decision_from_proto(result.decision) if result.HasField("decision") else None
            for result in response.results
        ]

    async def read_into(self, log: DecisionLog) -> None:
        decisions: list[OrderDecision] = []
        while True:
            request = pb.ReadDecisionsRequest(after=len(decisions))
            response = await self._stub.ReadDecisions(request, timeout=OPERATION_TIMEOUT_S)
            decisions += [order_decision_from_proto(decision) for decision in response.decisions]
            if not response.more:
                break
        log.replace(decisions, response.unfinished_order_ids, response.finished_below, response.forgotten_count)
