"""The log of executors that elect by Bully: as the model has it, as the code has it, and both in lockstep."""

from typing import Any, NamedTuple

from tests.model.decision_log import ModelLog
from tests.model.lockstep import LockstepLog, Pair
from tests.model.real import RealLog
from tests.model.rules import Rule
from tests.model.words import EPOCHS
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import RecordDecision, RecordFinished, resolve
from utils.two_phase_commit.fenced_log import NO_EPOCH, Epoch, FencedLog
from utils.two_phase_commit.messages import Attempt, ResolutionKind


class State(NamedTuple):
    decisions: frozenset[OrderDecision] = frozenset()
    finished: frozenset[str] = frozenset()
    epoch: int = EPOCHS[0]


class ModelFencedLog(ModelLog):
    """A decision counts in its own epoch only; whoever knows a decision already may tell it to another log."""

    def initial(self) -> Any:
        return State()

    def raise_epoch(self, state: Any, epoch: int) -> Any:
        return state._replace(epoch=epoch)

    def record(self, state: Any, decision: OrderDecision) -> tuple[Any, OrderDecision | None]:
        if decision.attempt.epoch != state.epoch and Rule.EPOCH_IS_CHECKED_AS_WRITTEN not in self._without:
            return state, None
        return super().record(state, decision)

    def learn(self, state: Any, decision: OrderDecision) -> Any:
        return super().record(state, decision)[0]


class RealFencedLog(RealLog):
    """`utils.two_phase_commit.fenced_log`."""

    def initial(self) -> Any:
        return self.raise_epoch((NO_EPOCH, None), EPOCHS[0])

    def raise_epoch(self, state: Any, epoch: int) -> Any:
        log = _log(state)
        raised = log.raise_epoch(log.epoch.number, f"executor {epoch}", f"start of {epoch}", above=epoch - 1)
        assert raised == _epoch(epoch)
        return _state(log)

    def decision(self, state: Any, order_id: str) -> OrderDecision | None:
        return _log(state).decisions.decision(order_id)

    def is_finished(self, state: Any, order_id: str) -> bool:
        return super().is_finished(_log(state).decisions.snapshot(), order_id)

    def record(self, state: Any, decision: OrderDecision) -> tuple[Any, OrderDecision | None]:
        log = _log(state)
        recorded = log.record(_epoch(decision.attempt.epoch), [RecordDecision(decision)])
        return _state(log), None if isinstance(recorded, Epoch) else recorded[0]

    def learn(self, state: Any, decision: OrderDecision) -> Any:
        log = _log(state)
        log.decisions.record(RecordDecision(decision))
        return _state(log)

    def finish(self, state: Any, order_id: str) -> Any:
        log = _log(state)
        log.record(log.epoch, [RecordFinished(order_id)])
        return _state(log)

    def resolve(self, state: Any, attempt: Attempt, epoch: int, *, was_given_up: bool) -> ResolutionKind:
        return resolve(attempt, epoch=epoch, log=_log(state).decisions, was_given_up=was_given_up).kind


class LockstepFencedLog(LockstepLog):
    def __init__(self) -> None:
        self._real, self._modelled = RealFencedLog(), ModelFencedLog()
        super().__init__(self._real, self._modelled)

    def raise_epoch(self, state: Pair, epoch: int) -> Pair:
        return Pair(self._real.raise_epoch(state.code, epoch), self._modelled.raise_epoch(state.model, epoch))

    def learn(self, state: Pair, decision: OrderDecision) -> Pair:
        return Pair(self._real.learn(state.code, decision), self._modelled.learn(state.model, decision))


def _epoch(number: int) -> Epoch:
    return Epoch(number, f"executor {number}", f"start of {number}")


def _log(state: tuple[Epoch, bytes | None]) -> FencedLog:
    log = FencedLog()
    log.restore(*state)
    return log


def _state(log: FencedLog) -> tuple[Epoch, bytes]:
    return log.epoch, log.decisions.snapshot()
