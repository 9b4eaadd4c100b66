"""How a service ended its part of a run."""

from dataclasses import dataclass

from utils.clocks.vector_clock import VectorClock
from utils.domain.order import Reason
from utils.verification.events import Event


@dataclass(frozen=True)
class Outcome:
    """`reasons` are all that this service found, whichever of its events they belong to.

    `stopped`: not all of its events happened. Without reasons of its own, somebody else had them.
    """

    clock: VectorClock
    events: tuple[Event, ...]
    reasons: tuple[Reason, ...]
    stopped: bool
    # The clock at each of the events.
    event_clocks: tuple[VectorClock, ...]
