"""The executors' log as the model has it: what is recorded, what is finished, and what a leader answers from it."""

from typing import NamedTuple

from tests.model.rules import Rule
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.messages import Attempt, ResolutionKind


class State(NamedTuple):
    """What has been applied."""

    decisions: frozenset[OrderDecision] = frozenset()
    finished: frozenset[str] = frozenset()


class ModelLog:
    def __init__(self, without: frozenset[Rule] = frozenset()) -> None:
        self._without = without

    def initial(self) -> State:
        return State()

    def decision(self, state: State, order_id: str) -> OrderDecision | None:
        return next((decision for decision in state.decisions if decision.order_id == order_id), None)

    def is_finished(self, state: State, order_id: str) -> bool:
        return order_id in state.finished

    def record(self, state: State, decision: OrderDecision) -> tuple[State, OrderDecision | None]:
        """The state after it, and the decision that is answered, if any is."""
        first = self.decision(state, decision.order_id)
        if first is None:
            return state._replace(decisions=state.decisions | {decision}), decision
        if Rule.FIRST_DECISION_WINS in self._without:
            return state._replace(decisions=state.decisions - {first} | {decision}), decision
        return state, first

    def finish(self, state: State, order_id: str) -> State:
        return state._replace(finished=state.finished | {order_id})

    def resolve(self, state: State, attempt: Attempt, epoch: int, *, was_given_up: bool) -> ResolutionKind:
        """What the leader of `epoch` answers to a participant in doubt."""
        if attempt.epoch > epoch and Rule.LATER_EPOCH_IS_NOT_ANSWERED not in self._without:
            return ResolutionKind.UNDECIDED
        decision = self.decision(state, attempt.order_id)
        if decision is not None:
            return _of(decision.commit and decision.attempt == attempt)
        if attempt.epoch == epoch and not was_given_up and Rule.OWN_EPOCH_IS_UNDECIDED not in self._without:
            return ResolutionKind.UNDECIDED
        return ResolutionKind.ABORTED


def _of(is_committed: bool) -> ResolutionKind:
    return ResolutionKind.COMMITTED if is_committed else ResolutionKind.ABORTED
