"""The nodes of a world: the model's, the project's own code, or both in lockstep.

All are functions from a state and a message to the next state and what is sent; states are immutable and hashable.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tests.model.coordinator import ModelCoordinator
from tests.model.decision_log import ModelLog
from tests.model.participant import ModelParticipant, Resource
from tests.model.rules import Rule
from tests.model.words import DATABASE, PAYMENT, Standing, ToCoordinator, ToParticipant
from utils.two_phase_commit.actions import Action, OrderDecision
from utils.two_phase_commit.messages import Acknowledgement, Attempt, ResolutionKind, Vote


class CoordinatorPart(Protocol):
    """One order at one leader. `known` is the order's decision as far as that leader has applied the log."""

    def start(
        self, order_id: str, position: int, epoch: int, known: OrderDecision | None
    ) -> tuple[Any, list[Action]]: ...

    def step(self, state: Any, known: OrderDecision | None, message: ToCoordinator) -> tuple[Any, list[Action]]: ...

    def has_given_up(self, state: Any, attempt: Attempt) -> bool: ...

    def is_finished(self, state: Any) -> bool: ...


class ParticipantPart(Protocol):
    def initial(self) -> Hashable: ...

    def step(self, state: Any, message: ToParticipant) -> tuple[Any, Vote | Acknowledgement | None]: ...

    def standings(self, state: Any) -> tuple[Standing, ...]:
        """By order, in the orders' order."""


class LogPart(Protocol):
    def initial(self) -> Hashable: ...

    def decision(self, state: Any, order_id: str) -> OrderDecision | None: ...

    def is_finished(self, state: Any, order_id: str) -> bool: ...

    def record(self, state: Any, decision: OrderDecision) -> tuple[Any, OrderDecision | None]:
        """None: refused, and not answered."""

    def finish(self, state: Any, order_id: str) -> Any: ...

    def resolve(self, state: Any, attempt: Attempt, epoch: int, *, was_given_up: bool) -> ResolutionKind: ...


@dataclass(frozen=True)
class Parts:
    coordinator: CoordinatorPart
    participants: Mapping[str, ParticipantPart]
    log: LogPart


def resources(order_ids: tuple[str, ...], copies: int, declined: frozenset[str]) -> tuple[Resource, Resource]:
    """The database's and payment's."""
    return (
        Resource(DATABASE, order_ids, copies),
        Resource(PAYMENT, order_ids, len(order_ids), declined),
    )


def model_parts(database: Resource, payment: Resource, without: frozenset[Rule] = frozenset()) -> Parts:
    participants = {resource.name: ModelParticipant(resource, without) for resource in (database, payment)}
    return Parts(ModelCoordinator(without), participants, ModelLog(without))
