"""Leaves a failing endpoint alone for a while. Pure: the caller brings the time, in seconds, which never runs back.

    closed ── `failures_max` failures in a row ──▶ open ── its time is over ──▶ half open: one call as a probe
      ▲                                             ▲ (twice as long, at most `open_s_max`)     │
      └──────── the probe succeeded ────────────────┼───────────────────────────────────────────┤
                                                    └────────── the probe failed ───────────────┘

A call that ends after the circuit has opened or closed again says nothing about now: its end is ignored.
"""

import enum
from typing import NewType

Ticket = NewType("Ticket", int)


class State(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Each call that `begin` lets through ends with exactly one of `succeed`, `fail` and `abandon`."""

    def __init__(self, *, failures_max: int = 5, open_s: float = 5.0, open_s_max: float = 60.0) -> None:
        self._failures_max = failures_max
        self._open_s_first = open_s
        self._open_s_max = open_s_max
        self._open_s = open_s
        self._state = State.CLOSED
        self._failures = 0
        self._opened_at = 0.0
        self._probing = False
        # Grows with each change of state; a ticket is the period that its call began in.
        self._period = 0

    def state(self, now_s: float) -> State:
        """As a call at `now_s` would find it."""
        if self._state is State.OPEN and now_s >= self._opened_at + self._open_s:
            return State.HALF_OPEN
        return self._state

    def begin(self, now_s: float) -> Ticket | None:
        """None: no call now."""
        state = self.state(now_s)
        if state is not self._state:
            self._change(state)
        if state is State.OPEN or (state is State.HALF_OPEN and self._probing):
            return None
        self._probing = state is State.HALF_OPEN
        return Ticket(self._period)

    def succeed(self, ticket: Ticket) -> None:
        if ticket != self._period:
            return
        self._failures = 0
        if self._state is State.HALF_OPEN:
            self._open_s = self._open_s_first
            self._change(State.CLOSED)

    def fail(self, ticket: Ticket, now_s: float) -> None:
        if ticket != self._period:
            return
        self._failures += 1
        if self._state is State.HALF_OPEN:
            self._open_s = min(2 * self._open_s, self._open_s_max)
        elif self._failures < self._failures_max:
            return
        self._opened_at = now_s
        self._change(State.OPEN)

    def abandon(self, ticket: Ticket) -> None:
        """Whoever asked has left: the call proves nothing, and another may be the probe."""
        if ticket == self._period:
            self._probing = False

    def _change(self, state: State) -> None:
        self._state = state
        self._period += 1
        self._failures = 0
        self._probing = False
