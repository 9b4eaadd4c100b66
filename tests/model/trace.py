"""How a step is told: who does what, and what is sent because of it."""

from collections.abc import Sequence

from tests.model.words import (
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
)
from utils.two_phase_commit.actions import (
    Alarm,
    Complete,
    OrderDecision,
    Propose,
    RecordAsFinished,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.messages import Attempt

_OF_ELECTIONS: dict[str | int, str] = {
    "elect": "the next leader is elected",
    "raise": "the next leader raises the epoch",
    "read": "the next leader reads the decisions",
}


def line(actor: str | int, message: Message | None, sent: Sequence[Message]) -> str:
    if message is None:
        return _OF_ELECTIONS.get(actor, f"leader {actor}, deposed, applies the log")
    who = f"leader {actor}" if isinstance(actor, int) else actor
    # What follows from the rest anyway tells nothing.
    told = [say(item) for item in sent if not isinstance(item, Silence | Ask | Unknown)]
    return f"{who} <- {say(message)}" + (f"   -> {', '.join(told)}" if told else "")


def say(message: Message) -> str:  # noqa: C901 - one line for each word
    match message:
        case HandOut(order_id):
            return f"order {_order(order_id)} is handed out"
        case SendPrepare(participant, attempt):
            return f"Prepare {_attempt(attempt)} to {participant}"
        case SendDecision(participant, decision):
            return f"{'Commit' if decision.commit else 'Abort'} {_attempt(decision.attempt)} to {participant}"
        case Voted(participant, vote):
            return f"{participant}'s vote on {_attempt(vote.attempt)}: {vote.kind}"
        case Silence(attempt):
            return f"no further answer to Prepare {_attempt(attempt)}"
        case TryAgain(attempt):
            return f"the pause after {_attempt(attempt)}"
        case Propose(decision):
            return f"proposal {_decision(decision)}"
        case Unknown(decision):
            return f"no answer to the proposal {_decision(decision)}"
        case Recorded(_, decision):
            return f"recorded: {_decision(decision)}"
        case Acknowledged(participant, decision, acknowledgement):
            what = f"{'Commit' if decision.commit else 'Abort'} {_attempt(decision.attempt)}"
            return f"{participant} {'acknowledges' if acknowledgement.done else 'cannot do'} {what}"
        case Complete(order_id, approved):
            return f"Complete {_order(order_id)}, {'approved' if approved else 'rejected'}"
        case Completed(order_id):
            return f"the queue has the result of {_order(order_id)}"
        case RecordAsFinished(order_id):
            return f"finish {_order(order_id)}"
        case Finished(order_id):
            return f"{_order(order_id)} is finished"
        case Ask(participant, attempt):
            return f"{participant}, in doubt, asks about {_attempt(attempt)}"
        case PowerCut():
            return "a power cut"
        case LostDisk():
            return "the disk is lost"
        case Alarm(_, what):
            return f"alarm: {what}"


def _order(order_id: str) -> str:
    return "AB"[int(order_id, 16) - 1]


def _attempt(attempt: Attempt) -> str:
    return f"{_order(attempt.order_id)}/{attempt.epoch}.{attempt.number}"


def _decision(decision: OrderDecision) -> str:
    return f"{'COMMIT' if decision.commit else 'REJECT'} {_attempt(decision.attempt)}"
