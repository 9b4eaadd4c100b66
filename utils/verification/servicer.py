"""VerificationPeer, the same in all three services: what peers and the orchestrator say of a run."""

from typing import Any

from utils.observe.logging import get_logger
from utils.pb import verification_pb2, verification_pb2_grpc
from utils.pb.convert import clock_to_proto
from utils.rpc.errors import InvalidArgument
from utils.verification import wire
from utils.verification.run_state import ImpossibleNotificationError
from utils.verification.runs import RunTable

log = get_logger()


class VerificationPeerServicer(verification_pb2_grpc.VerificationPeerServicer):
    """Proto <-> the table of runs."""

    def __init__(self, runs: RunTable) -> None:
        self._runs = runs

    async def Notify(self, request: verification_pb2.Notification, context: Any) -> verification_pb2.NotifyResponse:
        run_id, events, clock = wire.run_id(request.run_id), wire.events(request.events), wire.clock(request.clock)
        if (run := self._runs.hear_of(run_id)) is not None:
            try:
                run.hear(request.sender, events, clock)
            except ImpossibleNotificationError as error:
                raise InvalidArgument(str(error)) from error
        return verification_pb2.NotifyResponse()

    async def Stop(self, request: verification_pb2.StopRequest, context: Any) -> verification_pb2.StopResponse:
        run_id, cause = wire.run_id(request.run_id), wire.cause(request.cause)
        if (run := self._runs.hear_of(run_id)) is not None and run.stop(cause):
            log.info("verification stopped", order_id=run_id.order_id, run=run_id.run, cause=cause)
        return verification_pb2.StopResponse()

    async def Forget(self, request: verification_pb2.ForgetRequest, context: Any) -> verification_pb2.ForgetResponse:
        run_id, final_clock = wire.run_id(request.run_id), wire.clock(request.final_clock)
        clock = self._runs.forget(run_id)
        within_final = clock <= final_clock
        if not within_final:
            log.error(
                "the clock exceeds the final clock",
                order_id=run_id.order_id,
                run=run_id.run,
                clock=clock.entries,
                final_clock=final_clock.entries,
            )
        return verification_pb2.ForgetResponse(within_final=within_final, clock=clock_to_proto(clock.entries))
