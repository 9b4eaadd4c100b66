"""The same world with leaders by Bully: two may believe to lead at once, and the log is fenced by an epoch.

Whoever starts to lead raises the epoch, and then reads the decisions; between the two, and after, proposals of older
leaders arrive, and the log refuses them. A leader knows of decisions what it has read, and what it was answered.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.model.nodes import Leader, Nodes, Outcome
from tests.model.promises import Fault
from tests.model.rules import Rule
from tests.model.state import State, Step
from tests.model.words import EPOCHS, HEALED_EPOCH, Recorded
from tests.model.world import World


class Candidate(NamedTuple):
    """Between its two steps: it has raised the epoch, or, without the rule, has read `log`."""

    epoch: int
    log: Any = None


class BullyNodes(Nodes):
    def at_leader(self, leader: Any, message: Any) -> Outcome:
        if isinstance(leader, Candidate):
            return leader, [], None
        assert isinstance(leader, Leader)
        if isinstance(message, Recorded):
            leader = leader._replace(log=self.parts.log.learn(leader.log, message.decision))  # type: ignore[attr-defined]
        return super().at_leader(leader, message)


class BullyWorld(World):
    nodes_type = BullyNodes

    def healed(self, state: State) -> State:
        return super().healed(state._replace(log=self._raised(state, HEALED_EPOCH)))

    def election_steps(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        last = self._states["leader"].values[state.leaders[-1]]
        reads_first = Rule.READ_AFTER_RAISE in self._without
        log = self._states["log"].values[state.log]
        if isinstance(last, Candidate):
            known = last.log if reads_first else log
            leaders = (*state.leaders[:-1], self.new_leader(last.epoch, known))
            raised = self._raised(state, last.epoch) if reads_first else state.log
            yield Step("raise" if reads_first else "read", -1), state._replace(leaders=leaders, log=raised), None
        elif self.may_elect(state) and Rule.EPOCH_IS_OF_ONE_LEADER in self._without:
            leader = self.new_leader(last.epoch, log)
            yield Step("elect", -1), state._replace(leaders=(*state.leaders, leader)), None
        elif self.may_elect(state):
            epoch = EPOCHS[len(state.leaders)]
            candidate = Candidate(epoch, log if reads_first else None)
            leaders = (*state.leaders, self._states["leader"].number(candidate))
            raised = state.log if reads_first else self._raised(state, epoch)
            yield Step("read" if reads_first else "raise", -1), state._replace(leaders=leaders, log=raised), None

    def after_commit(self, state: State, log: int) -> tuple[int, ...]:
        """A leader hears of it by the answer, and others do not."""
        return state.leaders

    def catch_up(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        return iter(())

    def may_commit(self, state: State, message: int) -> bool:
        """The log itself refuses what is of another epoch."""
        return True

    def _raised(self, state: State, epoch: int) -> int:
        log = self._states["log"].values[state.log]
        return self._states["log"].number(self._parts.log.raise_epoch(log, epoch))  # type: ignore[attr-defined]
