"""The runs that a service knows, in bounded memory: begun, heard of before they began, and over.

A notification or a stop may come before the order itself: a record waits for it. After the final clock (or without
it, when the orchestrator died) a run is over: only its id and its clock are kept for a while, so that what comes late
is recognised and starts nothing.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from utils.clocks.vector_clock import VectorClock
from utils.domain.order import ORDER_ID
from utils.observe.logging import get_logger
from utils.rpc.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ResourceExhausted
from utils.verification.events import PREREQUISITE, Event, events_of
from utils.verification.run_state import RunState

log = get_logger()

_RUN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Limits:
    """Bounds of what one process keeps, in runs and in seconds."""

    begun_max: int = 4_096
    # Runs that only peers have spoken of.
    early_max: int = 4_096
    early_age_s_max: float = 30.0
    over_max: int = 16_384
    over_age_s_max: float = 120.0
    deadline_s_max: float = 60.0
    # From the deadline of a run to the moment when its orchestrator is taken for dead.
    linger_s: float = 30.0
    sweep_interval_s: float = 1.0


class RunId(NamedTuple):
    """A retry of the same order through another orchestrator is another run."""

    order_id: str
    run: str

    @classmethod
    def checked(cls, order_id: str, run: str) -> "RunId":
        """Raises InvalidArgument for what is not an id."""
        if not ORDER_ID.fullmatch(order_id) or not _RUN.fullmatch(run):
            raise InvalidArgument("run_id needs an order id of 32 and a run of 16 lower-case hexadecimal digits")
        return cls(order_id, run)


class Run:
    """One run: the protocol's state, and the flags on which its events wait."""

    def __init__(self, run_id: RunId, service: str, expires_at: float) -> None:
        self.run_id = run_id
        self.state = RunState(service)
        self.expires_at = expires_at
        self.deadline: float | None = None
        self.active = False
        self.stopped = asyncio.Event()
        self.over = False
        self._flags = {prerequisite: asyncio.Event() for event in events_of(service)
                       if (prerequisite := PREREQUISITE[event])}  # fmt: skip

    @property
    def begun(self) -> bool:
        """Whether the order itself has come."""
        return self.deadline is not None

    def happen(self, event: Event) -> None:
        self.state.happen(event)
        self._raise_flags()

    def hear(self, sender: str, events: tuple[Event, ...], clock: VectorClock) -> None:
        """Raises ImpossibleNotificationError."""
        self.state.hear(sender, events, clock)
        self._raise_flags()

    def stop(self, cause: str) -> bool:
        """Wakes whoever waits. False if the run was stopped before."""
        first = self.state.stop(cause)
        self.stopped.set()
        for flag in self._flags.values():
            flag.set()
        return first

    async def prerequisite(self, event: Event) -> None:
        """Waits until what `event` waits for has happened, or the run is stopped."""
        if (prerequisite := PREREQUISITE[event]) is not None:
            await self._flags[prerequisite].wait()

    def _raise_flags(self) -> None:
        for prerequisite, flag in self._flags.items():
            if self.state.knows(prerequisite):
                flag.set()


class RunTable:
    """All runs of one service. Belongs to one event loop; every moment is the loop's time."""

    def __init__(self, service: str, limits: Limits) -> None:
        self._service = service
        self._limits = limits
        self._early: dict[RunId, Run] = {}
        self._begun: dict[RunId, Run] = {}
        self._over: dict[RunId, tuple[float, VectorClock]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._early) + len(self._begun) + len(self._over)

    @contextmanager
    def begin(self, run_id: RunId, clock: VectorClock, deadline_s: float) -> Iterator[Run]:
        """The order has come: its run, active inside the block.

        Raises InvalidArgument for a deadline out of bounds, AlreadyExists for a run that has begun,
        FailedPrecondition for one that is over, ResourceExhausted when too many are active.
        """
        if not 0 < deadline_s <= self._limits.deadline_s_max:
            raise InvalidArgument(f"deadline_ms must be from 1 to {self._limits.deadline_s_max * 1_000:.0f}")
        if run_id in self._begun:
            raise AlreadyExists("this run has begun already")
        if run_id in self._over:
            raise FailedPrecondition("this run is over")
        self._make_room()
        run = self._early.pop(run_id, None) or Run(run_id, self._service, 0.0)
        run.deadline = asyncio.get_running_loop().time() + deadline_s
        run.expires_at = run.deadline + self._limits.linger_s
        run.state.receive(clock)
        self._begun[run_id] = run
        self._arm()
        run.active = True
        try:
            yield run
        finally:
            run.active = False

    def hear_of(self, run_id: RunId) -> Run | None:
        """The run that a peer speaks of, begun or not; None once it is over. Raises ResourceExhausted."""
        if run_id in self._over:
            return None
        if run := self._begun.get(run_id) or self._early.get(run_id):
            return run
        if len(self._early) >= self._limits.early_max:
            raise ResourceExhausted(f"{len(self._early)} runs are heard of that have not begun")
        run = Run(run_id, self._service, asyncio.get_running_loop().time() + self._limits.early_age_s_max)
        self._early[run_id] = run
        self._arm()
        return run

    def forget(self, run_id: RunId) -> VectorClock:
        """The run is over: its last clock, empty where it was not known. The same answer again later."""
        if run_id in self._over:
            return self._over[run_id][1]
        run = self._begun.pop(run_id, None) or self._early.pop(run_id, None)
        if run is not None:
            run.stop("forgotten")
            run.over = True
        clock = run.state.clock if run is not None else VectorClock()
        while len(self._over) >= self._limits.over_max:
            del self._over[next(iter(self._over))]
        self._over[run_id] = (asyncio.get_running_loop().time() + self._limits.over_age_s_max, clock)
        self._arm()
        return clock

    def close(self) -> None:
        """Stops what is active and sweeps no more."""
        for run in self._begun.values():
            run.stop("shutdown")
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _make_room(self) -> None:
        if len(self._begun) < self._limits.begun_max:
            return
        # Only a dead orchestrator leaves ended runs behind for long: the oldest of them makes room.
        ended = next((run_id for run_id, run in self._begun.items() if not run.active), None)
        if ended is None:
            raise ResourceExhausted(f"{len(self._begun)} runs are active")
        self.forget(ended)

    def _arm(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._limits.sweep_interval_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = asyncio.get_running_loop().time()
        for run_id in [run_id for run_id, run in self._begun.items() if run.expires_at <= now and not run.active]:
            log.warning("a run has expired without its final clock", order_id=run_id.order_id, run=run_id.run)
            self.forget(run_id)
        for run_id in [run_id for run_id, run in self._early.items() if run.expires_at <= now]:
            self._early.pop(run_id).stop("expired")
        for run_id in [run_id for run_id, (expires_at, _) in self._over.items() if expires_at <= now]:
            del self._over[run_id]
        if len(self):
            self._arm()
