"""What each kind of node makes of a message: its next state, what it sends, and what is wrong with that."""

from typing import Any, NamedTuple, TypeAlias

from tests.model.parts import Parts
from tests.model.promises import Fault, check_participant
from tests.model.rules import Rule
from tests.model.scenario import Scenario
from tests.model.words import (
    HEALED_EPOCH,
    Acknowledged,
    Ask,
    Completed,
    Finished,
    HandOut,
    LostDisk,
    Message,
    PowerCut,
    Recorded,
    Silence,
    Unknown,
    Voted,
    plain,
)
from utils.two_phase_commit.actions import (
    Action,
    Alarm,
    Complete,
    ConfirmFinished,
    Propose,
    RecordAsFinished,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, ResolutionKind, Vote, VoteKind

# Attempts that a leader may use when everything is healed.
HEALED_ATTEMPTS = 5


class Leader(NamedTuple):
    """`log`: the state of the log as this leader has applied it.

    A coordinator waits for one of Completed and Finished at a time: the runtime gives an answer only to who asked.
    """

    epoch: int
    log: Any
    # By order: the coordinator's state and whether it waits for `Completed` or `Finished`; None: not in hand.
    orders: tuple[Any, ...]


class GivenUp(NamedTuple):
    """A coordinator after the last attempt that the scenario allows: it only remembers that."""

    attempt: Attempt


class Ended(NamedTuple):
    """A coordinator that has finished. The queue, which has the result, hands it to this leader no more."""


# The next state, what is sent, and what is wrong.
Outcome: TypeAlias = tuple[Any, list[Message], Fault | None]


class Nodes:
    """The parts of a world, each behind the same question."""

    def __init__(self, scenario: Scenario, parts: Parts, without: frozenset[Rule], *, only_promises: bool) -> None:
        self.parts = parts
        self._scenario = scenario
        self._order_ids = scenario.order_ids
        self._without = without
        # A lost disk can make an alarm of anything: what counts then is that nobody lies.
        self._only_promises = only_promises or scenario.has_lost_disk

    def new_leader(self, epoch: int, log: Any) -> Leader:
        return Leader(epoch, log, (None,) * len(self._order_ids))

    def outcome(self, actor: str, state: Any, message: Message) -> Outcome:
        """`actor`: `leader`, `log`, `queue`, or a participant's name."""
        try:
            match actor:
                case "leader":
                    return self.at_leader(state, message)
                case "log":
                    return self._at_log(state, message)
                case "queue":
                    return self._at_queue(state, message)
                case _:
                    return self._at_participant(actor, state, message)
        except Exception as error:  # noqa: BLE001 - whatever a node raises is what is looked for
            return state, [], Fault("a node breaks", f"{type(error).__name__}: {error}")

    def _at_participant(self, name: str, state: Any, message: Any) -> Outcome:
        part = self.parts.participants[name]
        after, answer = part.step(state, message)
        sent: list[Message] = []
        if isinstance(answer, Vote):
            sent.append(Voted(name, answer))
            if answer.kind is VoteKind.COMMIT:
                sent.append(Ask(name, answer.attempt))
        elif isinstance(answer, Acknowledgement):
            sent.append(Acknowledged(name, message.decision, answer))
        standings = (part.standings(state), part.standings(after))
        before, then = (dict(zip(self._order_ids, standing, strict=True)) for standing in standings)
        fault = check_participant(name, before, then, message, answer, only_promises=self._only_promises)
        return after, sent, fault

    def _at_log(self, state: Any, message: Any) -> Outcome:
        if isinstance(message, RecordAsFinished):
            return self.parts.log.finish(state, message.order_id), [Finished(message.order_id)], None
        assert isinstance(message, Propose)
        before = self.parts.log.decision(state, message.decision.order_id)
        after, answer = self.parts.log.record(state, message.decision)
        if answer is None:
            return state, [], None
        fault = None
        if before is not None and self.parts.log.decision(after, before.order_id) != before:
            fault = Fault("one decision", f"it was {before}, and is {answer}")
        return after, [Recorded(message.decision.attempt.epoch, answer)], fault

    def _at_queue(self, results: tuple[Complete | None, ...], message: Any) -> Outcome:
        at = self._order_ids.index(message.order_id)
        if results[at] is None:
            results = (*results[:at], message, *results[at + 1 :])
        elif results[at] != message:
            return results, [], Fault("one result", f"the queue has {results[at]}, and is told {message}")
        return results, [Completed(message.order_id)], None

    def at_leader(self, leader: Any, message: Any) -> Outcome:
        if isinstance(message, Ask):
            return leader, self.answer(leader, message), None
        at = self._order_ids.index(_order_id(message))
        in_hand = leader.orders[at]
        known = self.parts.log.decision(leader.log, self._order_ids[at])
        if isinstance(message, HandOut):
            if in_hand is not None:
                return leader, [], None
            waits = None
            state, actions = self.parts.coordinator.start(message.order_id, at + 1, leader.epoch, known)
        elif in_hand is None or isinstance(in_hand, GivenUp | Ended):
            return leader, [], None
        else:
            before, waits = in_hand
            if isinstance(message, Completed | Finished) and waits is not type(message):
                return leader, [], None
            state, actions = self.parts.coordinator.step(before, known, message)
        for action in actions:
            if isinstance(action, Complete | RecordAsFinished):
                waits = Completed if isinstance(action, Complete) else Finished
        in_hand = Ended() if self.parts.coordinator.is_finished(state) else (state, waits)
        attempts_max = HEALED_ATTEMPTS if leader.epoch == HEALED_EPOCH else self._scenario.attempts[at]
        for action in actions:
            if isinstance(action, TryAgain) and action.attempt.number >= attempts_max:
                in_hand = GivenUp(action.attempt)
        orders = (*leader.orders[:at], in_hand, *leader.orders[at + 1 :])
        return leader._replace(orders=orders), *self._sent(actions)

    def _sent(self, actions: list[Action]) -> tuple[list[Message], Fault | None]:
        sent: list[Message] = []
        fault = None
        for action in map(plain, actions):
            match action:
                case Alarm():
                    fault = Fault("no alarm", action.what)
                case ConfirmFinished():
                    fault = Fault("no alarm", "an order is called finished, and nothing was published")
                case SendPrepare(_, attempt):
                    sent += [action, Silence(attempt)]
                case Propose(decision) if Rule.UNKNOWN_IS_REPEATED in self._without:
                    sent += [action, Unknown(decision)]
                case _:
                    sent.append(action)
        return sent, None if self._only_promises else fault

    def answer(self, leader: Leader, ask: Ask) -> list[Message]:
        match leader.orders[self._order_ids.index(ask.attempt.order_id)]:
            case None | Ended():
                gave_up = False
            case GivenUp(attempt):
                gave_up = ask.attempt <= attempt
            case state, _:
                gave_up = self.parts.coordinator.has_given_up(state, ask.attempt)
        kind = self.parts.log.resolve(
            leader.log, ask.attempt, leader.epoch, was_given_up=gave_up and ask.attempt.epoch == leader.epoch
        )
        if kind is ResolutionKind.UNDECIDED:
            return []
        return [SendDecision(ask.participant, Decision(ask.attempt, commit=kind is ResolutionKind.COMMITTED))]


def addressee(message: Message) -> str | int:
    """A participant's name, `log`, `queue`, the epoch of one leader, or `leaders` for all."""
    match message:
        case SendPrepare(participant) | SendDecision(participant) | PowerCut(participant) | LostDisk(participant):
            return participant
        case Propose() | RecordAsFinished():
            return "log"
        case Complete():
            return "queue"
        case Voted(_, vote):
            return vote.attempt.epoch
        case Silence(attempt) | TryAgain(attempt):
            return attempt.epoch
        case Unknown(decision):
            return decision.attempt.epoch
        case Recorded(epoch):
            return epoch
        case _:
            return "leaders"


def _order_id(message: Any) -> str:
    match message:
        case HandOut(order_id) | Completed(order_id) | Finished(order_id):
            return order_id
        case Voted(_, vote):
            return vote.attempt.order_id
        case Silence(attempt) | TryAgain(attempt):
            return attempt.order_id
        case Unknown(decision) | Recorded(_, decision):
            return decision.order_id
        case Acknowledged(_, decision):
            return decision.attempt.order_id
    raise AssertionError(message)
