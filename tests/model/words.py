"""The vocabulary of the model: what travels, who receives it, and how a trace says it.

What coordinators send and what participants answer are the project's own words (`utils.two_phase_commit`), without
their counters of tries, which no rule depends on. The few words beside them stand for a clock, a question or the log.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

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
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote

DATABASE, PAYMENT = "database", "payment"
PARTICIPANTS = (DATABASE, PAYMENT)
# Leaders in the order of their epochs, chosen so that a comparison of texts would get them wrong.
EPOCHS = (9, 10, 11)
# The epoch of a leader that comes when everything is healed.
HEALED_EPOCH = 12

OUT_OF_STOCK = Reason("out_of_stock", "")
DECLINED = Reason("payment_declined", "")
# What a leader that breaks its rules rejects an order for.
TROUBLE = Reason("trouble", "")


@dataclass(frozen=True)
class HandOut:
    """A poll's answer, perhaps late or for the second time: the order, to any leader."""

    order_id: str


@dataclass(frozen=True)
class Voted:
    """A participant's answer to a Prepare."""

    participant: str
    vote: Vote


@dataclass(frozen=True)
class Silence:
    """All tries of a Prepare are used up: whoever has not answered until now does not.

    One word for all participants: when a coordinator stops waiting for the first of them shows nowhere, and what
    counts is who has answered when it stops waiting for the last.
    """

    attempt: Attempt


@dataclass(frozen=True)
class Unknown:
    """A proposal's outcome is not known in time. Only a leader that breaks its rules makes anything of it."""

    decision: OrderDecision


@dataclass(frozen=True)
class Recorded:
    """The log's answer to a proposal made in `epoch`."""

    epoch: int
    decision: OrderDecision


@dataclass(frozen=True)
class Acknowledged:
    """A participant's answer to a decision."""

    participant: str
    decision: Decision
    acknowledgement: Acknowledgement


@dataclass(frozen=True)
class Completed:
    """The queue has the order's result."""

    order_id: str


@dataclass(frozen=True)
class Finished:
    """The log has the order as finished."""

    order_id: str


@dataclass(frozen=True)
class Ask:
    """A participant in doubt about an attempt that it has prepared asks any leader."""

    participant: str
    attempt: Attempt


@dataclass(frozen=True)
class PowerCut:
    """A participant dies and starts again; what was not durable is lost."""

    participant: str


@dataclass(frozen=True)
class LostDisk:
    """A participant comes back with an empty disk: a fault that the protocol cannot mask, but must not lie about."""

    participant: str


ToCoordinator = Voted | Silence | TryAgain | Unknown | Recorded | Acknowledged | Completed | Finished
ToParticipant = SendPrepare | SendDecision | PowerCut | LostDisk
Message = HandOut | ToCoordinator | ToParticipant | Ask | Propose | RecordAsFinished | Complete | Alarm


class Standing(NamedTuple):
    """What a participant knows and holds of one order. `attempt` and `phase` are those of its record, if it has one."""

    attempt: Attempt | None = None
    # busy, prepared, declined, aborted, committed; or empty.
    phase: str = ""
    # Copies reserved, or authorisations.
    held: int = 0
    # Copies sold, or captures.
    done: int = 0


NOTHING = Standing()


def plain(action: Action) -> Action:
    """Without what counts or explains."""
    match action:
        case TryAgain():
            return TryAgain(action.attempt, 0, "")
        case Alarm():
            return action
        case _:
            return replace(action, tries=0)
