"""Code and model side by side, asked the same: a difference in what they answer is a fault."""

from typing import Any, NamedTuple

from tests.model.participant import Resource
from tests.model.parts import CoordinatorPart, LogPart, ParticipantPart, Parts, model_parts
from tests.model.real import real_parts
from tests.model.words import Standing, ToCoordinator, ToParticipant, plain
from utils.two_phase_commit.actions import Action, OrderDecision
from utils.two_phase_commit.messages import Acknowledgement, Attempt, ResolutionKind, Vote


class DriftError(Exception):
    """Code and model answer differently."""

    def __init__(self, asked: object, code: object, model: object) -> None:
        super().__init__(f"to {asked} the code answers {code}, and the model {model}")


class Pair(NamedTuple):
    """One node, twice: as the code has it and as the model has it."""

    code: Any
    model: Any


def _agreed(asked: object, code: Any, model: Any) -> Any:
    if code != model:
        raise DriftError(asked, code, model)
    return code


class LockstepCoordinator:
    def __init__(self, code: CoordinatorPart, model: CoordinatorPart) -> None:
        self._code, self._model = code, model

    def start(self, order_id: str, position: int, epoch: int, known: OrderDecision | None) -> tuple[Pair, list[Action]]:
        code, said = self._code.start(order_id, position, epoch, known)
        model, expected = self._model.start(order_id, position, epoch, known)
        return Pair(code, model), _agreed("an order", list(map(plain, said)), list(map(plain, expected)))

    def step(self, state: Pair, known: OrderDecision | None, message: ToCoordinator) -> tuple[Pair, list[Action]]:
        code, said = self._code.step(state.code, known, message)
        model, expected = self._model.step(state.model, known, message)
        return Pair(code, model), _agreed(message, list(map(plain, said)), list(map(plain, expected)))

    def has_given_up(self, state: Pair, attempt: Attempt) -> bool:
        answers = self._code.has_given_up(state.code, attempt), self._model.has_given_up(state.model, attempt)
        return bool(_agreed(attempt, *answers))

    def is_finished(self, state: Pair) -> bool:
        return bool(_agreed("finished?", self._code.is_finished(state.code), self._model.is_finished(state.model)))


class LockstepParticipant:
    def __init__(self, code: ParticipantPart, model: ParticipantPart) -> None:
        self._code, self._model = code, model

    def initial(self) -> Pair:
        return Pair(self._code.initial(), self._model.initial())

    def step(self, state: Pair, message: ToParticipant) -> tuple[Pair, Vote | Acknowledgement | None]:
        code, said = self._code.step(state.code, message)
        model, expected = self._model.step(state.model, message)
        return Pair(code, model), _agreed(message, said, expected)

    def standings(self, state: Pair) -> tuple[Standing, ...]:
        standings = self._code.standings(state.code), self._model.standings(state.model)
        agreed: tuple[Standing, ...] = _agreed("what it holds", *standings)
        return agreed


class LockstepLog:
    def __init__(self, code: LogPart, model: LogPart) -> None:
        self._code, self._model = code, model

    def initial(self) -> Pair:
        return Pair(self._code.initial(), self._model.initial())

    def decision(self, state: Pair, order_id: str) -> OrderDecision | None:
        decisions = self._code.decision(state.code, order_id), self._model.decision(state.model, order_id)
        agreed: OrderDecision | None = _agreed(order_id, *decisions)
        return agreed

    def is_finished(self, state: Pair, order_id: str) -> bool:
        answers = self._code.is_finished(state.code, order_id), self._model.is_finished(state.model, order_id)
        return bool(_agreed(order_id, *answers))

    def record(self, state: Pair, decision: OrderDecision) -> tuple[Pair, OrderDecision | None]:
        code, said = self._code.record(state.code, decision)
        model, expected = self._model.record(state.model, decision)
        agreed: OrderDecision | None = _agreed(decision, said, expected)
        return Pair(code, model), agreed

    def finish(self, state: Pair, order_id: str) -> Pair:
        return Pair(self._code.finish(state.code, order_id), self._model.finish(state.model, order_id))

    def resolve(self, state: Pair, attempt: Attempt, epoch: int, *, was_given_up: bool) -> ResolutionKind:
        agreed: ResolutionKind = _agreed(
            attempt,
            self._code.resolve(state.code, attempt, epoch, was_given_up=was_given_up),
            self._model.resolve(state.model, attempt, epoch, was_given_up=was_given_up),
        )
        return agreed


def lockstep_parts(database: Resource, payment: Resource) -> Parts:
    code, model = real_parts(database, payment), model_parts(database, payment)
    return Parts(
        LockstepCoordinator(code.coordinator, model.coordinator),
        {name: LockstepParticipant(part, model.participants[name]) for name, part in code.participants.items()},
        LockstepLog(code.log, model.log),
    )
