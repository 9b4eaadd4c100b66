"""Takes a service through its events of a run, in causal order with its two peers.

verification = Verification(FRAUD_DETECTION)
verification.add_to(server)
outcome = await verification.perform(request.start, [Step(Event.D, reasons_d), Step(Event.E, reasons_e)])
response.outcome.CopyFrom(outcome_to_proto(outcome))
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from utils.domain.order import REASONS_MAX, Reason
from utils.observe.logging import get_logger
from utils.pb import verification_pb2, verification_pb2_grpc
from utils.rpc.errors import Unavailable
from utils.rpc.server import RpcServer
from utils.rpc.transport import Credentials
from utils.verification import wire
from utils.verification.deliveries import Deliveries, Delivery
from utils.verification.events import PREREQUISITE, Event, events_of
from utils.verification.outcome import Outcome
from utils.verification.runs import Limits, Run, RunTable
from utils.verification.servicer import VerificationPeerServicer

log = get_logger()


@dataclass(frozen=True)
class Step:
    """One event of a service.

    `reasons` were found before by pure rules: with any of them the event fails, and none after it happens. `work`, if
    there is any, starts once the prerequisite has happened, and the event happens when it is done; it is cancelled
    when the run is stopped.
    """

    event: Event
    reasons: Sequence[Reason] = ()
    work: Callable[[], Awaitable[object]] | None = None


class _Stopped(Exception):
    """The run was stopped while it waited or worked."""


class Verification:
    """The causal protocol of one service process. Belongs to one event loop."""

    def __init__(self, service: str, *, limits: Limits | None = None, credentials: Credentials | None = None) -> None:
        self.service = service
        self.runs = RunTable(service, limits or Limits())
        self._deliveries = Deliveries(service, credentials)

    def add_to(self, server: RpcServer) -> None:
        """Serves the peers and the orchestrator."""
        verification_pb2_grpc.add_VerificationPeerServicer_to_server(
            VerificationPeerServicer(self.runs),
            server,  # type: ignore[arg-type]
        )

    async def perform(self, start: verification_pb2.RunStart, steps: Sequence[Step]) -> Outcome:
        """Returns when every step's event has happened, or one has failed, or the run was stopped.

        The deadline counts from here. Raises InvalidArgument, AlreadyExists, FailedPrecondition (the run is over),
        ResourceExhausted, and Unavailable when a prerequisite has not happened by the deadline; or what a step's work
        raises.
        """
        assert tuple(step.event for step in steps) == events_of(self.service)
        begin = wire.start_from_proto(start, self.service)
        with self.runs.begin(begin.run_id, begin.clock, begin.deadline_s) as run:
            delivery = Delivery(self._deliveries, run, begin.peers)
            outcome = await self._perform(run, delivery, steps)
        log.info(
            "verification ended",
            order_id=run.run_id.order_id,
            run=run.run_id.run,
            events="".join(outcome.events),
            clock=outcome.clock.entries,
            reasons=[reason.code for reason in outcome.reasons],
            stop_cause=run.state.stop_cause,
        )
        return outcome

    async def close(self) -> None:
        """Stops every run and gives up what peers have not heard."""
        self.runs.close()
        await self._deliveries.close()

    async def _perform(self, run: Run, delivery: Delivery, steps: Sequence[Step]) -> Outcome:
        try:
            async with asyncio.timeout_at(run.deadline) as scope:
                await self._take(run, delivery, steps)
        except _Stopped:
            pass
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                run.stop("cancelled")  # by the orchestrator, who tells the peers itself
            elif isinstance(error, TimeoutError) and scope.expired():
                run.stop("unavailable")  # the peers have the same deadline
                raise _unavailable(run, steps) from None
            elif run.stop("failed"):
                delivery.tell_stop()
            raise
        return _outcome(run, steps)

    async def _take(self, run: Run, delivery: Delivery, steps: Sequence[Step]) -> None:
        """Raises _Stopped."""
        for step in steps:
            await run.prerequisite(step.event)
            if step.work is not None and not run.stopped.is_set() and not step.reasons:
                await _unless_stopped(run, step.work())
            if run.stopped.is_set():
                raise _Stopped
            if step.reasons:
                run.stop(step.reasons[0].code)
                delivery.tell_stop()
                raise _Stopped
            run.happen(step.event)
            log.debug(
                "event happened",
                order_id=run.run_id.order_id,
                run=run.run_id.run,
                event_name=step.event,
                clock=run.state.clock.entries,
            )
            delivery.tell_event(step.event)


async def _unless_stopped(run: Run, work: Awaitable[object]) -> None:
    """Waits for `work`; cancels it when the run is stopped first. Raises what it raises."""
    working = asyncio.ensure_future(work)
    stopped = asyncio.create_task(run.stopped.wait())
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        if working.done() and not run.stopped.is_set():
            working.result()
    finally:
        working.cancel()
        stopped.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


def _outcome(run: Run, steps: Sequence[Step]) -> Outcome:
    # A set would lose the order in which the customer fills in the form.
    reasons = tuple(dict.fromkeys(reason for step in steps for reason in step.reasons))[:REASONS_MAX]
    events = run.state.own_events
    stopped = len(events) < len(steps)
    return Outcome(run.state.clock, events, reasons, stopped=stopped, event_clocks=run.state.own_clocks)


def _unavailable(run: Run, steps: Sequence[Step]) -> Unavailable:
    event = steps[len(run.state.own_events)].event
    if run.state.knows(PREREQUISITE[event]):
        return Unavailable(f"event {event} was not done by the deadline")
    return Unavailable(f"event {event} waits for {PREREQUISITE[event]}, which did not happen by the deadline")
