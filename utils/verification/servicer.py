"""VerificationPeer, the same in all three services: what peers and the orchestrator say of a run."""

from typing import Any

from utils.observe.logging import get_logger
from utils.pb import verification_pb2, verification_pb2_grpc
from utils.pb.convert import clock_to_proto
from utils.rpc.errors import InvalidArgument, ResourceExhausted
from utils.verification import wire
from utils.verification.run_state import ImpossibleNotificationError
from utils.verification.runs import RunId, RunTable

log = get_logger()


class VerificationPeerServicer(verification_pb2_grpc.VerificationPeerServicer):
    """Proto <-> the table of runs."""

    def __init__(self, runs: RunTable) -> None:
        self._runs = runs

    async def Notify(self, request: verification_pb2.NotifyRequest, context: Any) -> verification_pb2.NotifyResponse:
        if len(request.notifications) > wire.NOTIFICATIONS_MAX:
            raise InvalidArgument(f"at most {wire.NOTIFICATIONS_MAX} notifications at once")
        response = verification_pb2.NotifyResponse()
        for position, notification in enumerate(request.notifications):
            # One that is refused must not hold up those of other orders.
            try:
                self._hear(notification)
            except ResourceExhausted:
                response.send_again.append(position)
            except (InvalidArgument, ImpossibleNotificationError) as error:
                response.refused[position] = str(error)
        return response

    async def Stop(self, request: verification_pb2.StopRequest, context: Any) -> verification_pb2.StopResponse:
        self._stop(wire.run_id(request.run_id), wire.cause(request.cause))
        return verification_pb2.StopResponse()

    def _hear(self, notification: verification_pb2.Notification) -> None:
        """Raises InvalidArgument, ImpossibleNotificationError, ResourceExhausted."""
        run_id, events = wire.run_id(notification.run_id), wire.events(notification.events)
        clock = wire.clock(notification.clock)
        cause = wire.cause(notification.stop_cause) if notification.stop_cause else None
        if (run := self._runs.hear_of(run_id)) is not None:
            run.hear(notification.sender, events, clock)
            if cause is not None:
                self._stop(run_id, cause)

    def _stop(self, run_id: RunId, cause: str) -> None:
        """Raises ResourceExhausted."""
        if (run := self._runs.hear_of(run_id)) is not None and run.stop(cause):
            log.info("verification stopped", order_id=run_id.order_id, run=run_id.run, cause=cause)

    async def Forget(self, request: verification_pb2.ForgetRequest, context: Any) -> verification_pb2.ForgetResponse:
        run_id, final_clock = wire.run_id(request.run_id), wire.clock(request.final_clock)
        clock = self._runs.forget(run_id)
        within_final = clock <= final_clock or not request.HasField("final_clock")
        if not within_final:
            log.error(
                "the clock exceeds the final clock",
                order_id=run_id.order_id,
                run=run_id.run,
                clock=clock.entries,
                final_clock=final_clock.entries,
            )
        return verification_pb2.ForgetResponse(within_final=within_final, clock=clock_to_proto(clock.entries))
