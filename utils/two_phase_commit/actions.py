"""What a coordinator asks its runtime to do. `tries` counts how often the same thing has failed before."""

from dataclasses import dataclass

import msgspec

from utils.clocks.story import Story
from utils.domain.order import Reason
from utils.two_phase_commit.messages import Attempt, Decision


class OrderDecision(msgspec.Struct, frozen=True):
    """An order's one decision, as the log keeps it: COMMIT(attempt), or REJECT with at least one reason.

    `attempt` of a REJECT is the one that met the No: all attempts up to it are aborted.
    `position` is the order's index in the queue's log. `story`: the coordinator's attempts and this decision.
    """

    attempt: Attempt
    position: int
    commit: bool
    reasons: tuple[Reason, ...] = ()
    story: Story = ()

    @property
    def order_id(self) -> str:
        return self.attempt.order_id


@dataclass(frozen=True)
class SendPrepare:
    participant: str
    attempt: Attempt
    tries: int = 0


@dataclass(frozen=True)
class Propose:
    """To the decision log, whose answer goes to `recorded`."""

    decision: OrderDecision
    tries: int = 0


@dataclass(frozen=True)
class SendDecision:
    participant: str
    decision: Decision
    tries: int = 0


@dataclass(frozen=True)
class TryAgain:
    """After a pause, call `try_again`. `tries` counts the attempts that were given up."""

    attempt: Attempt
    tries: int
    why: str


@dataclass(frozen=True)
class Complete:
    """Tell the queue how the order ended: approved with its confirmation code, or rejected with reasons."""

    order_id: str
    approved: bool
    confirmation_code: str
    reasons: tuple[Reason, ...]
    tries: int = 0


@dataclass(frozen=True)
class RecordAsFinished:
    order_id: str
    tries: int = 0


@dataclass(frozen=True)
class ConfirmFinished:
    """A participant says that the order is finished: what does the log say, if this is still its leader?"""

    order_id: str
    tries: int = 0


@dataclass(frozen=True)
class Alarm:
    """What no fault that we reckon with can cause. Somebody has to look; nothing is decided because of it."""

    order_id: str
    what: str


# What can fail, and is answered by its own input or by `failed`.
Request = SendPrepare | Propose | SendDecision | Complete | RecordAsFinished | ConfirmFinished
Action = Request | TryAgain | Alarm
