"""The coordinator as the model has it: pure functions over one order's state, in the order of the protocol's steps.

Independent of `utils.two_phase_commit.coordinator`, and shorter: the explorer compares the two answer by answer.
"""

import enum
from typing import NamedTuple, TypeAlias

from tests.model.rules import Rule
from tests.model.words import (
    PARTICIPANTS,
    TROUBLE,
    Acknowledged,
    Completed,
    Finished,
    Recorded,
    Silence,
    ToCoordinator,
    Unknown,
    Voted,
)
from utils.domain.order import Reason
from utils.two_phase_commit.actions import (
    Action,
    Alarm,
    Complete,
    OrderDecision,
    Propose,
    RecordAsFinished,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.messages import Attempt, Decision, Vote, VoteKind


class Phase(enum.StrEnum):
    ASKING = enum.auto()
    GIVEN_UP = enum.auto()
    PROPOSED = enum.auto()
    TELLING = enum.auto()
    ENDING = enum.auto()
    FINISHED = enum.auto()


class State(NamedTuple):
    attempt: Attempt
    position: int
    phase: Phase
    # By participant: False is silence, None is no answer yet.
    answers: tuple[Vote | bool | None, ...] = (None,) * len(PARTICIPANTS)
    # Proposed or recorded.
    decision: OrderDecision | None = None
    acknowledged: frozenset[str] = frozenset()
    code: str = ""


Step: TypeAlias = tuple[State, list[Action]]


class ModelCoordinator:
    def __init__(self, without: frozenset[Rule] = frozenset()) -> None:
        self._without = without

    def start(self, order_id: str, position: int, epoch: int, known: OrderDecision | None) -> Step:
        return self._ask(State(Attempt(order_id, epoch, 1), position, Phase.ASKING), known)

    def step(self, state: State, known: OrderDecision | None, message: ToCoordinator) -> Step:
        """`known`: the order's decision, as far as this leader has applied the log."""
        match message:
            case Voted(participant, vote) if self._awaits(state, participant, vote.attempt):
                return self._voted(state, known, participant, vote)
            case Silence(attempt) if state.phase is Phase.ASKING and attempt == state.attempt:
                return self._judge(state._replace(answers=tuple(answer or False for answer in state.answers)))
            case TryAgain(attempt) if state.phase is Phase.GIVEN_UP and attempt == state.attempt:
                return self._ask(state._replace(attempt=self._next(state)), known)
            case Unknown(decision) if state.phase is Phase.PROPOSED and decision == state.decision:
                return self._give_up(state._replace(decision=None))
            case Recorded(_, decision) if state.phase is Phase.PROPOSED:
                return self._take(state, decision)
            case Acknowledged() if state.phase is Phase.TELLING and message.decision == _told(state):
                return self._acknowledged(state, message)
            case Completed() if state.phase is Phase.ENDING:
                return state, [RecordAsFinished(state.attempt.order_id)]
            case Finished() if state.phase is Phase.ENDING:
                return state._replace(phase=Phase.FINISHED), []
            case _:
                return state, []

    def has_given_up(self, state: State, attempt: Attempt) -> bool:
        if attempt.number == state.attempt.number:
            return state.phase is Phase.GIVEN_UP
        return attempt.number < state.attempt.number

    def is_finished(self, state: State) -> bool:
        return state.phase is Phase.FINISHED

    def _awaits(self, state: State, participant: str, attempt: Attempt) -> bool:
        return (
            state.phase is Phase.ASKING
            and state.answers[PARTICIPANTS.index(participant)] is None
            and (attempt == state.attempt or Rule.VOTES_COUNT_FOR_THEIR_ATTEMPT in self._without)
        )

    def _ask(self, state: State, known: OrderDecision | None) -> Step:
        if known is not None and Rule.DECIDED_IS_NOT_TRIED_AGAIN not in self._without:
            return self._take(state, known)
        asking = State(state.attempt, state.position, Phase.ASKING)
        return asking, [SendPrepare(participant, state.attempt) for participant in PARTICIPANTS]

    def _voted(self, state: State, known: OrderDecision | None, participant: str, vote: Vote) -> Step:
        """A participant that says *ended* is believed if the log says so too, or if the log may be behind."""
        if vote.kind is VoteKind.ALREADY_COMMITTED:
            assert vote.other_attempt is not None
            if known is not None and known.commit:
                return self._take(state, known)
            if known is not None or vote.other_attempt.epoch <= state.attempt.epoch:
                return state, [Alarm(state.attempt.order_id, f"{participant} has committed what was not decided")]
        at = PARTICIPANTS.index(participant)
        return self._judge(state._replace(answers=(*state.answers[:at], vote, *state.answers[at + 1 :])))

    def _judge(self, state: State) -> Step:
        if Rule.COMMIT_NEEDS_ALL_VOTES in self._without and VoteKind.COMMIT in _kinds(state):
            return self._propose(state, commit=True)
        if None in state.answers:
            return state, []
        if reasons := _noes(state):
            return self._propose(state, commit=False, reasons=reasons)
        if all(kind is VoteKind.COMMIT for kind in _kinds(state)):
            return self._propose(state, commit=True)
        if Rule.TRANSIENT_NEVER_REJECTS in self._without:
            return self._propose(state, commit=False, reasons=(TROUBLE,))
        return self._give_up(state)

    def _give_up(self, state: State) -> Step:
        aborts = [SendDecision(participant, Decision(state.attempt, commit=False)) for participant in PARTICIPANTS]
        return state._replace(phase=Phase.GIVEN_UP), [*aborts, TryAgain(state.attempt, 0, "")]

    def _next(self, state: State) -> Attempt:
        """One higher than what this leader used, or hears that it used."""
        others = [vote.other_attempt for vote in state.answers if isinstance(vote, Vote) and vote.other_attempt]
        used = [state.attempt.number, *(other.number for other in others if other.epoch == state.attempt.epoch)]
        step = 0 if Rule.NUMBER_IS_USED_ONCE in self._without else 1
        return Attempt(state.attempt.order_id, state.attempt.epoch, max(used) + step)

    def _propose(self, state: State, *, commit: bool, reasons: tuple[Reason, ...] = ()) -> Step:
        decision = OrderDecision(state.attempt, state.position, commit, reasons)
        # What the answers were has no say any more.
        proposed = State(state.attempt, state.position, Phase.PROPOSED, decision=decision)
        actions: list[Action] = [Propose(decision)]
        if Rule.RECORDED_BEFORE_TOLD in self._without:
            actions += _tell_all(proposed)
        return proposed, actions

    def _take(self, state: State, decision: OrderDecision) -> Step:
        telling = State(state.attempt, state.position, Phase.TELLING, decision=decision)
        if Rule.COMPLETE_AFTER_ACKNOWLEDGED in self._without:
            return telling._replace(phase=Phase.ENDING), [*_tell_all(telling), _complete(telling)]
        return telling, _tell_all(telling)

    def _acknowledged(self, state: State, message: Acknowledged) -> Step:
        if message.participant in state.acknowledged:
            return state, []
        if not message.acknowledgement.done:
            what = f"{message.participant} does not know the attempt that it is told to end"
            return state, [Alarm(state.attempt.order_id, what), SendDecision(message.participant, message.decision)]
        state = state._replace(
            acknowledged=state.acknowledged | {message.participant},
            code=message.acknowledgement.confirmation_code or state.code,
        )
        if len(state.acknowledged) < len(PARTICIPANTS):
            return state, []
        return state._replace(phase=Phase.ENDING), [_complete(state)]


def _kinds(state: State) -> list[VoteKind | None]:
    return [vote.kind if isinstance(vote, Vote) else None for vote in state.answers]


def _noes(state: State) -> tuple[Reason, ...]:
    votes = [vote for vote in state.answers if isinstance(vote, Vote)]
    return tuple(reason for vote in votes if vote.kind is VoteKind.ABORT for reason in vote.reasons)


def _told(state: State) -> Decision:
    """Exactly the attempt that is committed; of a rejected order, everything up to now."""
    assert state.decision is not None
    attempt = state.decision.attempt
    return Decision(attempt, commit=True) if state.decision.commit else Decision(max(attempt, state.attempt), False)


def _tell_all(state: State) -> list[Action]:
    return [SendDecision(participant, _told(state)) for participant in PARTICIPANTS]


def _complete(state: State) -> Complete:
    assert state.decision is not None
    return Complete(state.attempt.order_id, state.decision.commit, state.code, state.decision.reasons)
