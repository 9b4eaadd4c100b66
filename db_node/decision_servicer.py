"""DecisionLogService: what executors that elect their leader by Bully keep in the database."""

from typing import Any

from db_node.commands import RaiseEpoch, RecordDecisions
from db_node.database_machine import DatabaseMachine, encode
from utils.pb import decision_log_pb2 as pb, decision_log_pb2_grpc
from utils.raft.consensus import Consensus
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import FailedPrecondition, InvalidArgument
from utils.two_phase_commit.decision_convert import (
    command_from_proto,
    epoch_from_proto,
    epoch_to_proto,
    holder_from_proto,
    order_decision_to_proto,
)
from utils.two_phase_commit.fenced_log import Epoch

COMMANDS_MAX = 1_024
PAGE = 1_000


class DecisionLogServicer(decision_log_pb2_grpc.DecisionLogServiceServicer):
    """Every method raises NotLeader on a replica, and Unavailable when what became of a command is not known."""

    def __init__(self, node: Consensus, machine: DatabaseMachine) -> None:
        self._node = node
        self._machine = machine

    async def GetEpoch(self, request: pb.GetEpochRequest, context: Any) -> pb.GetEpochResponse:
        await self._confirm(context)
        return pb.GetEpochResponse(epoch=epoch_to_proto(self._machine.executors.epoch))

    async def RaiseEpoch(self, request: pb.RaiseEpochRequest, context: Any) -> pb.RaiseEpochResponse:
        command = RaiseEpoch(request.expected_number, *holder_from_proto(request.node_id, request.incarnation))
        with raft_errors():
            epoch: Epoch = await self._node.propose(encode(command), timeout_s=context.time_remaining())
        return pb.RaiseEpochResponse(epoch=epoch_to_proto(epoch))

    async def RecordDecisions(self, request: pb.RecordDecisionsRequest, context: Any) -> pb.RecordDecisionsResponse:
        holder_from_proto(request.epoch.node_id, request.epoch.incarnation)
        if not 1 <= len(request.commands) <= COMMANDS_MAX:
            raise InvalidArgument(f"a call holds from 1 to {COMMANDS_MAX} commands, not {len(request.commands)}")
        epoch = epoch_from_proto(request.epoch)
        commands = tuple(command_from_proto(command) for command in request.commands)
        with raft_errors():
            recorded = await self._node.propose(
                encode(RecordDecisions(epoch, commands)), timeout_s=context.time_remaining()
            )
        if isinstance(recorded, Epoch):
            raise FailedPrecondition(
                f"epoch {epoch.number} of {epoch.node_id} is over: {recorded.node_id} leads epoch {recorded.number}",
                reason="epoch_over",
                epoch=str(recorded.number),
            )
        results = [
            pb.RecordDecisionsResponse.Result(decision=order_decision_to_proto(decision) if decision else None)
            for decision in recorded
        ]
        return pb.RecordDecisionsResponse(results=results)

    async def ReadDecisions(self, request: pb.ReadDecisionsRequest, context: Any) -> pb.ReadDecisionsResponse:
        await self._confirm(context)
        decisions = self._machine.executors.decisions
        page = decisions.page(request.after, PAGE)
        response = pb.ReadDecisionsResponse(decisions=[order_decision_to_proto(decision) for decision in page])
        if request.after + len(page) < decisions.remembered_count:
            response.more = True
        else:
            response.unfinished_order_ids.extend(decision.order_id for decision in decisions.unfinished())
            response.finished_below = decisions.finished_below
            response.forgotten_count = decisions.forgotten_count
        return response

    async def _confirm(self, context: Any) -> None:
        with raft_errors():
            await self._node.read_barrier(timeout_s=context.time_remaining())
