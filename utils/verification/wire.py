"""Between verification.proto and the words of this package; what is not well formed is refused here."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from utils.clocks.vector_clock import VectorClock
from utils.pb import vector_clock_pb2, verification_pb2
from utils.pb.convert import clock_from_proto, clock_to_proto, reason_to_proto
from utils.rpc.errors import InvalidArgument
from utils.verification.events import SERVICES, Event
from utils.verification.outcome import Outcome
from utils.verification.runs import Run, RunId

CLOCK_ENTRIES_MAX = 16
NOTIFICATIONS_MAX = 256
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_CAUSE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ADDRESS = re.compile(r"[A-Za-z0-9._\[\]:-]{1,255}:[0-9]{1,5}")

_EVENTS_TO_PROTO: Final = {event: verification_pb2.Event.Value(f"EVENT_{event}") for event in Event}
_EVENTS_FROM_PROTO: Final = {number: event for event, number in _EVENTS_TO_PROTO.items()}


@dataclass(frozen=True)
class Start:
    """What a service is told first, checked."""

    run_id: RunId
    clock: VectorClock
    deadline_s: float
    # The other two services and their addresses.
    peers: Mapping[str, str]


def start_from_proto(message: verification_pb2.RunStart, service: str) -> Start:
    """As `service` takes it. Raises InvalidArgument."""
    peers = {name: message.peers[name] for name in SERVICES if name != service and name in message.peers}
    if len(peers) != len(SERVICES) - 1:
        raise InvalidArgument(f"peers must name the addresses of the services beside {service}")
    if not all(_ADDRESS.fullmatch(address) for address in peers.values()):
        raise InvalidArgument("peers must be host:port")
    return Start(run_id(message.run_id), clock(message.clock), message.deadline_ms / 1_000, peers)


def run_id(message: verification_pb2.RunId) -> RunId:
    """Raises InvalidArgument."""
    return RunId.checked(message.order_id, message.run)


def clock(message: vector_clock_pb2.VectorClock) -> VectorClock:
    """Raises InvalidArgument."""
    entries = clock_from_proto(message)
    if len(entries) > CLOCK_ENTRIES_MAX or not all(_NAME.fullmatch(process) for process in entries):
        raise InvalidArgument(f"a clock names at most {CLOCK_ENTRIES_MAX} processes")
    return VectorClock(entries)


def events(numbers: Iterable[verification_pb2.Event.ValueType]) -> tuple[Event, ...]:
    """Raises InvalidArgument."""
    try:
        return tuple(_EVENTS_FROM_PROTO[number] for number in numbers)
    except KeyError as error:
        raise InvalidArgument(f"{error} is no event") from None


def cause(text: str) -> str:
    """A reason's code, fit for a log. Raises InvalidArgument."""
    if not _CAUSE.fullmatch(text):
        raise InvalidArgument("cause must be a reason's code")
    return text


def notification(run: Run, service: str, *, stopped: bool) -> verification_pb2.Notification:
    """All that `service` has to say of the run; or, `stopped`, why it has failed there."""
    return verification_pb2.Notification(
        run_id=_run_id_to_proto(run.run_id),
        sender=service,
        events=[_EVENTS_TO_PROTO[event] for event in run.state.own_events],
        clock=clock_to_proto(run.state.clock.entries),
        stop_cause=(run.state.stop_cause or "") if stopped else "",
    )


def outcome_to_proto(outcome: Outcome) -> verification_pb2.RunOutcome:
    return verification_pb2.RunOutcome(
        clock=clock_to_proto(outcome.clock.entries),
        events=[_EVENTS_TO_PROTO[event] for event in outcome.events],
        reasons=[reason_to_proto(reason) for reason in outcome.reasons],
        stopped=outcome.stopped,
        event_clocks=[clock_to_proto(clock.entries) for clock in outcome.event_clocks],
    )


def _run_id_to_proto(value: RunId) -> verification_pb2.RunId:
    return verification_pb2.RunId(order_id=value.order_id, run=value.run)
