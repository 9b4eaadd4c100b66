"""Breadth first through every state that can be reached, so that the first fault found has a shortest trace."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.model.promises import Fault
from tests.model.reduction import Reduction
from tests.model.state import State, Step
from tests.model.world import World

# Steps of a healed world until every order has ended.
HEALED_STEPS_MAX = 500


@dataclass(frozen=True)
class CounterExample:
    fault: Fault
    trace: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{number:3}. {line}" for number, line in enumerate(self.trace, start=1)]
        return "\n".join([*lines, f"  => {self.fault}"])


@dataclass(frozen=True)
class Explored:
    states: int
    steps: int
    # All traces of up to this many steps are explored.
    depth: int
    # Whether there was nothing left to explore.
    is_complete: bool
    counter_example: CounterExample | None = None


class Explorer:
    """`reduces`: leaves out what makes no difference. `checks_end`: in each state, healing must end every order."""

    def __init__(self, world: World, *, reduces: bool = True, checks_end: bool = True) -> None:
        self._world = world
        self._reduction = Reduction(world) if reduces else None
        self._checks_end = checks_end
        self._came_by: dict[State, tuple[State, Step] | None] = {}
        # By log, queue, database and payment: whether a healed world ends from there.
        self._ends: dict[tuple[int, int, int, int], CounterExample | None] = {}

    def run(self) -> Explored:
        """Ends at the first fault, when all is explored, or when the scenario's bound of states is passed."""
        world, came_by, states_max = self._world, self._came_by, self._world.scenario.states_max
        steps_taken = depth = 0
        frontier = [world.initial()]
        came_by[frontier[0]] = None
        while frontier:
            following: list[State] = []
            for state in frontier:
                for step, following_state, fault in world.steps(state):
                    steps_taken += 1
                    after = self._reduction.reduced(following_state) if self._reduction else following_state
                    if fault is None and after in came_by:
                        continue
                    broken = fault or world.check(after)
                    healed = self._never_ends(after) if broken is None and self._checks_end else None
                    if broken is not None or healed is not None:
                        trace = (*self._trace(state), world.describe(step, state, after))
                        example = CounterExample(broken, trace) if broken else _joined(trace, healed)
                        return Explored(len(came_by), steps_taken, depth, is_complete=False, counter_example=example)
                    came_by[after] = (state, step)
                    following.append(after)
                if states_max is not None and len(came_by) > states_max:
                    return Explored(len(came_by), steps_taken, depth, is_complete=False)
            frontier = following
            depth += 1
        return Explored(len(came_by), steps_taken, depth, is_complete=True)

    @property
    def known(self) -> Iterable[State]:
        """Every state met."""
        return self._came_by

    def _trace(self, state: State) -> list[str]:
        lines: list[str] = []
        while (came_by := self._came_by[state]) is not None:
            before, step = came_by
            lines.append(self._world.describe(step, before, state))
            state = before
        return lines[::-1]

    def _never_ends(self, state: State) -> CounterExample | None:
        """How the orders do not end although all is healed from here on: a next leader, and no message lost."""
        if self._world.scenario.has_lost_disk:
            return None
        key = (state.log, state.queue, state.database, state.payment)
        if key not in self._ends:
            self._ends[key] = self._run_healed(self._world.healed(state))
        return self._ends[key]

    def _run_healed(self, state: State) -> CounterExample | None:
        seen = {state}
        trace = ["all is healed, and the next leader is elected"]
        while not self._world.has_ended(state):
            if len(seen) > HEALED_STEPS_MAX:
                return CounterExample(Fault("every order ends", f"{HEALED_STEPS_MAX} steps were not enough"), ())
            for step, after, fault in self._world.healed_steps(state):
                broken = fault or self._world.check(after)
                if broken is not None or after not in seen:
                    trace.append(self._world.describe(step, state, after))
                    break
            else:
                return CounterExample(Fault("every order ends", "the next leader gets no further"), tuple(trace))
            if broken is not None:
                return CounterExample(broken, tuple(trace))
            state = after
            seen.add(state)
        return None


def _joined(trace: tuple[str, ...], healed: CounterExample | None) -> CounterExample:
    assert healed is not None
    return CounterExample(healed.fault, (*trace, *healed.trace))
