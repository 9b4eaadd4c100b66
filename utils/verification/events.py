"""The six events of a verification, whose they are, and what each of them waits for: A -> B -> D -> C -> E -> F."""

import enum
from typing import Final

TRANSACTION_VERIFICATION: Final = "transaction_verification"
FRAUD_DETECTION: Final = "fraud_detection"
SUGGESTIONS: Final = "suggestions"
SERVICES: Final = (TRANSACTION_VERIFICATION, FRAUD_DETECTION, SUGGESTIONS)


class Event(enum.StrEnum):
    """A items, B user data, C card or account; D user, E card or account; F books."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"


CAUSAL_ORDER: Final = (Event.A, Event.B, Event.D, Event.C, Event.E, Event.F)

OWNER: Final = {
    Event.A: TRANSACTION_VERIFICATION,
    Event.B: TRANSACTION_VERIFICATION,
    Event.C: TRANSACTION_VERIFICATION,
    Event.D: FRAUD_DETECTION,
    Event.E: FRAUD_DETECTION,
    Event.F: SUGGESTIONS,
}

# Each event waits for the one before it; only A waits for nothing.
PREREQUISITE: Final[dict[Event, Event | None]] = dict(zip(CAUSAL_ORDER, (None, *CAUSAL_ORDER), strict=False))


def events_of(service: str) -> tuple[Event, ...]:
    """The events of a service, in the order in which they happen."""
    return tuple(event for event in CAUSAL_ORDER if OWNER[event] == service)
