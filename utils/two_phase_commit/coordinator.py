"""One order in the hands of one leader: from its first attempt to its record as finished.

The rules (presumed abort, fenced by attempt):

1. Participants are asked in parallel. All commit: COMMIT is proposed to the decision log. Any business No: REJECT is.
   Anything else (silence, refused, busy) is our own trouble: the attempt is given up, and the next one has a higher
   number. An order is never rejected for it.
2. A decision is told to nobody before the log has recorded it. Once proposed, the same proposal is repeated until the
   log answers; an unknown outcome is not a failure, and nothing is given up any more.
3. What the log answers is the decision, whoever proposed it. It is delivered until every participant has acknowledged;
   only then is the queue told, and only then is the order recorded as finished. No limit of tries.
4. At most one attempt lives. Answers about any other are late and mean nothing.
5. A participant that knows the order as finished is asking too late a leader: whoever still leads finds it finished in
   its own log, and whoever does not will never get an answer from it.

        STARTED ──▶ PREPARING ──▶ COMMITTING ──▶ COMMITTED
           ▲            │
           │            ▼
        ABORTED ◀── ABORTING          (given up: back to STARTED with number + 1; rejected: the end)

Pure: inputs are method calls, outputs are the actions to carry out, in any order. An action that failed comes back
with `tries` raised by one; how long to wait before it is the runtime's table.
"""

import enum
from collections.abc import Callable
from dataclasses import replace

from utils.domain.order import REASONS_MAX
from utils.two_phase_commit.actions import (
    Action,
    Alarm,
    Complete,
    ConfirmFinished,
    OrderDecision,
    Propose,
    RecordAsFinished,
    Request,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote, VoteKind

# A Prepare is sent this often before the attempt is given up.
PREPARE_TRIES_MAX = 3


class AttemptState(enum.Enum):
    STARTED = enum.auto()
    # Participants are asked; nothing is proposed.
    PREPARING = enum.auto()
    # COMMIT is proposed or recorded, and not yet acknowledged by all.
    COMMITTING = enum.auto()
    COMMITTED = enum.auto()
    # Given up, or REJECT is proposed or recorded, and not yet acknowledged by all.
    ABORTING = enum.auto()
    ABORTED = enum.auto()


_NEXT_STATES: dict[AttemptState, frozenset[AttemptState]] = {
    # Straight to an end's beginning when the log knows the decision already.
    AttemptState.STARTED: frozenset({AttemptState.PREPARING, AttemptState.COMMITTING, AttemptState.ABORTING}),
    AttemptState.PREPARING: frozenset({AttemptState.COMMITTING, AttemptState.ABORTING}),
    # Across, when the log answers a proposal with another decision that came first.
    AttemptState.COMMITTING: frozenset({AttemptState.COMMITTED, AttemptState.ABORTING}),
    AttemptState.ABORTING: frozenset({AttemptState.ABORTED, AttemptState.COMMITTING}),
    AttemptState.COMMITTED: frozenset(),
    AttemptState.ABORTED: frozenset({AttemptState.STARTED}),
}


class IllegalTransitionError(Exception):
    """A defect of the coordinator or of its runtime."""

    def __init__(self, attempt: Attempt, state: AttemptState, to: str) -> None:
        super().__init__(f"{attempt} is {state.name}, and cannot become {to}")
        self.attempt = attempt
        self.state = state


class Coordinator:
    """See the module. `recorded_decision` looks an order up in what this leader has applied of the decision log."""

    def __init__(
        self,
        order_id: str,
        position: int,
        *,
        epoch: int,
        participants: tuple[str, ...],
        recorded_decision: Callable[[str], OrderDecision | None],
    ) -> None:
        self.attempt = Attempt(order_id, epoch, 1)
        self.state = AttemptState.STARTED
        # What is asked of the log, or what it has answered; None while the attempt can still be given up.
        self.decision: OrderDecision | None = None
        self.is_recorded = False
        self.is_finished = False
        self._position = position
        self._epoch = epoch
        self._participants = participants
        self._recorded_decision = recorded_decision
        self._given_up = 0
        # By participant: the answer to this attempt's Prepare. None: there was none, after all tries.
        self._answers: dict[str, Vote | None] = {}
        self._acknowledged: set[str] = set()
        self._confirmation_code = ""

    @property
    def order_id(self) -> str:
        return self.attempt.order_id

    def start(self) -> list[Action]:
        """Starts the first attempt, or takes up what the log says of this order."""
        return self._prepare()

    def voted(self, participant: str, vote: Vote) -> list[Action]:
        """An answer to a Prepare, of whatever attempt, for the first time or again."""
        if not self._awaits(participant, vote.attempt):
            return []
        actions: list[Action] = []
        if vote.kind is VoteKind.ALREADY_COMMITTED or (vote.kind is VoteKind.REFUSED and vote.other_attempt is None):
            # It says that the order has ended. Then the log knows how, or a later leader's log does.
            if (known := self._recorded_decision(self.order_id)) is not None:
                if vote.kind is VoteKind.ALREADY_COMMITTED and not known.commit:
                    actions.append(self._alarm(f"{participant} has committed what is rejected"))
                return actions + self._take(known)
            if vote.other_attempt is None:
                actions.append(ConfirmFinished(self.order_id))
            elif vote.other_attempt.epoch <= self._epoch:
                actions.append(self._alarm(f"{participant} says that the order has ended, and the log does not"))
        if vote.kind is VoteKind.ABORT and not vote.reasons:
            actions.append(self._alarm(f"{participant} voted abort without a reason"))
        self._answers[participant] = vote
        return actions + self._decide()

    def failed(self, action: Request) -> list[Action]:
        """No answer, or one that leaves open what happened. Everything but a Prepare is repeated without end."""
        again = replace(action, tries=action.tries + 1)
        match action:
            case SendPrepare():
                if not self._awaits(action.participant, action.attempt):
                    return []
                if again.tries < PREPARE_TRIES_MAX:
                    return [again]
                self._answers[action.participant] = None
                return self._decide()
            case Propose():
                return [] if self.is_recorded else [again]
            case SendDecision():
                # An attempt that was given up is said to be over once.
                return [again] if self._delivers(action) else []
            case _:
                return [again]

    def try_again(self, attempt: Attempt) -> list[Action]:
        """The pause after a given-up attempt is over."""
        if attempt != self.attempt or self.decision is not None:
            return []
        self._become(AttemptState.ABORTED)
        number = self.attempt.number
        for answer in self._answers.values():
            other = answer.other_attempt if answer is not None else None
            if other is not None and other.epoch == self._epoch:
                number = max(number, other.number)
        self.attempt = Attempt(self.order_id, self._epoch, number + 1)
        self._become(AttemptState.STARTED)
        return self._prepare()

    def recorded(self, decision: OrderDecision) -> list[Action]:
        """The log's answer to the proposal: the order's decision, ours or one that came before."""
        if self.is_recorded:
            return []
        return self._take(decision)

    def acknowledged(self, action: SendDecision, acknowledgement: Acknowledgement) -> list[Action]:
        """A participant's answer to a decision."""
        if not self._delivers(action):
            return []
        if acknowledgement.finished:
            return [ConfirmFinished(self.order_id)]
        if acknowledgement.attempt != action.decision.attempt or not acknowledgement.done:
            return [
                self._alarm(f"{action.participant} does not know the attempt that it is told to end"),
                SendDecision(action.participant, action.decision, action.tries + 1),
            ]
        if action.decision.commit and acknowledgement.confirmation_code:
            self._confirmation_code = acknowledgement.confirmation_code
        self._acknowledged.add(action.participant)
        if len(self._acknowledged) < len(self._participants):
            return []
        return self._end(action.tries)

    def completed(self) -> list[Action]:
        """The queue has the result."""
        assert self.state in (AttemptState.COMMITTED, AttemptState.ABORTED)
        return [RecordAsFinished(self.order_id)]

    def confirmed(self, finished_below: int) -> list[Action]:
        """The log of the one who leads: below which position all orders are finished."""
        if self._position < finished_below:
            return self.finished()
        return [self._alarm("a participant says that the order is finished, and the log does not")]

    def finished(self) -> list[Action]:
        """The log has the order as finished: there is nothing left to do."""
        self.is_finished = True
        return []

    def has_given_up(self, attempt: Attempt) -> bool:
        """Whether this leader gave up `attempt`, one of its own epoch, before proposing anything for it."""
        if attempt.number == self.attempt.number:
            return self.state is AttemptState.ABORTING and self.decision is None
        return attempt.number < self.attempt.number

    def _awaits(self, participant: str, attempt: Attempt) -> bool:
        return self.state is AttemptState.PREPARING and attempt == self.attempt and participant not in self._answers

    def _delivers(self, action: SendDecision) -> bool:
        return (
            self.is_recorded
            and self.state in (AttemptState.COMMITTING, AttemptState.ABORTING)
            and action.decision == self._told()
            and action.participant not in self._acknowledged
        )

    def _prepare(self) -> list[Action]:
        if (known := self._recorded_decision(self.order_id)) is not None:
            return self._take(known)
        self._answers = {}
        self._become(AttemptState.PREPARING)
        return [SendPrepare(participant, self.attempt) for participant in self._participants]

    def _decide(self) -> list[Action]:
        if len(self._answers) < len(self._participants):
            return []
        # In the participants' order, whoever was faster: all reasons are told, not the first one's.
        answers = [self._answers[participant] for participant in self._participants]
        kinds = [None if answer is None else answer.kind for answer in answers]
        noes = [answer for answer in answers if answer is not None and answer.kind is VoteKind.ABORT]
        reasons = tuple(reason for no in noes for reason in no.reasons)[:REASONS_MAX]
        if reasons:
            self._become(AttemptState.ABORTING)
            self.decision = OrderDecision(self.attempt, self._position, commit=False, reasons=reasons)
            return [Propose(self.decision)]
        if all(kind is VoteKind.COMMIT for kind in kinds):
            self._become(AttemptState.COMMITTING)
            self.decision = OrderDecision(self.attempt, self._position, commit=True)
            return [Propose(self.decision)]
        return self._give_up(kinds)

    def _give_up(self, kinds: list[VoteKind | None]) -> list[Action]:
        self._become(AttemptState.ABORTING)
        self._given_up += 1
        why = ", ".join(
            f"{participant}: {kind.value if kind else 'no answer'}"
            for participant, kind in zip(self._participants, kinds, strict=True)
        )
        # Said once: it frees what is held. Who misses it is fenced by the next attempt, or asks.
        aborts = [SendDecision(participant, Decision(self.attempt, commit=False)) for participant in self._participants]
        return [*aborts, TryAgain(self.attempt, self._given_up, why)]

    def _take(self, decision: OrderDecision) -> list[Action]:
        target = AttemptState.COMMITTING if decision.commit else AttemptState.ABORTING
        if self.state is not target:
            self._become(target)
        self.decision = decision
        self.is_recorded = True
        self._acknowledged = set()
        return self._tell_all(0)

    def _told(self) -> Decision:
        """What the participants hear of the recorded decision."""
        assert self.decision is not None
        if self.decision.commit:
            return Decision(self.decision.attempt, commit=True)
        # Everything up to now: whatever was prepared since an old REJECT ends with it.
        return Decision(max(self.decision.attempt, self.attempt), commit=False)

    def _tell_all(self, tries: int) -> list[Action]:
        return [SendDecision(participant, self._told(), tries) for participant in self._participants]

    def _end(self, tries: int) -> list[Action]:
        assert self.decision is not None
        if self.decision.commit and not self._confirmation_code:
            # An approval carries its code, and a participant that has committed can always say it again.
            self._acknowledged = set()
            return [self._alarm("committed without a confirmation code"), *self._tell_all(tries + 1)]
        self._become(AttemptState.COMMITTED if self.decision.commit else AttemptState.ABORTED)
        return [
            Complete(self.order_id, self.decision.commit, self._confirmation_code, self.decision.reasons),
        ]

    def _alarm(self, what: str) -> Alarm:
        return Alarm(self.order_id, what)

    def _become(self, state: AttemptState) -> None:
        if state not in _NEXT_STATES[self.state]:
            raise IllegalTransitionError(self.attempt, self.state, state.name)
        self.state = state
