"""What one service knows of one run of verification. Pure: the rules of the causal protocol and nothing else.

1. An event happens once, in its own service, after its prerequisite is known to have happened; then the service's
   entry of the clock ticks.
2. Hearing of a peer's events merges the peer's clock. A notification names all events of its sender so far, so it may
   be lost, doubled, late or overtaken: the union of what was heard is the same.
3. Once stopped, nothing more happens here.
"""

from collections.abc import Sequence

from utils.clocks.vector_clock import VectorClock
from utils.verification.events import OWNER, PREREQUISITE, SERVICES, Event, events_of


class ImpossibleNotificationError(Exception):
    """No run of the protocol sends this: the sender is broken or is not who it says."""


class RunState:
    """Of one service in one run."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._known: set[Event] = set()
        self._own: dict[Event, VectorClock] = {}
        self.clock = VectorClock()
        self.stop_cause: str | None = None

    @property
    def own_events(self) -> tuple[Event, ...]:
        """The events that have happened here, in order."""
        return tuple(self._own)

    @property
    def own_clocks(self) -> tuple[VectorClock, ...]:
        """The clock at each of them."""
        return tuple(self._own.values())

    def knows(self, event: Event | None) -> bool:
        """Whether `event` is known to have happened; None, no prerequisite, always has."""
        return event is None or event in self._known

    def receive(self, clock: VectorClock) -> None:
        """A message of the orchestrator came with its clock."""
        self.clock = self.clock.merge(clock)

    def hear(self, sender: str, events: Sequence[Event], clock: VectorClock) -> None:
        """A peer says what has happened there so far. Raises ImpossibleNotificationError, and then changes nothing."""
        if sender not in SERVICES or sender == self._service:
            raise ImpossibleNotificationError(f"{sender} is no peer of {self._service}")
        if tuple(events) != events_of(sender)[: len(events)]:
            raise ImpossibleNotificationError(f"{sender} does not have the events {', '.join(events)} in this order")
        if clock[sender] < len(events) or clock[self._service] > self.clock[self._service]:
            raise ImpossibleNotificationError(f"the clock {clock} does not fit the events of {sender}")
        self._known.update(events)
        self.clock = self.clock.merge(clock)

    def happen(self, event: Event) -> None:
        """The event happens here and now."""
        assert OWNER[event] == self._service, f"{event} is not an event of {self._service}"
        assert self.stop_cause is None, f"{event} after the run was stopped"
        assert event not in self._known, f"{event} twice"
        assert self.knows(PREREQUISITE[event]), f"{event} before {PREREQUISITE[event]}"
        self._known.add(event)
        self.clock = self._own[event] = self.clock.tick(self._service)

    def stop(self, cause: str) -> bool:
        """Nothing more may happen. False if that was already so: the first cause stays."""
        if self.stop_cause is not None:
            return False
        self.stop_cause = cause
        return True
