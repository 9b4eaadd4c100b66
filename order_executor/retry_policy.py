"""How long a step may take and how long to wait before it is tried again: the one table.

An operation is bounded by 5 s. A Prepare is tried three times (utils.two_phase_commit.coordinator), what follows a
proposal without end. None of this is how a dead leader is noticed: a refused connection, a redirect or a missed
heartbeat is, inside the operation's 5 s. The longest pauses stay well under the 3 s in which some order has to end.
"""

import random
from dataclasses import dataclass

from utils.two_phase_commit.actions import (
    Complete,
    ConfirmFinished,
    Propose,
    RecordAsFinished,
    Request,
    SendDecision,
    SendPrepare,
    TryAgain,
)

OPERATION_TIMEOUT_S = 5.0
# How long the queue may keep a poll that finds nothing.
POLL_WAIT_S = 1.0
# How long a leader that takes no more orders waits for those in hand: longer than a healthy order takes, and short
# enough for the orders that wait meanwhile, and for whoever has asked the process to stop.
DRAIN_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Backoff:
    """Doubles from `first_s` to `longest_s`; half of each pause is jitter."""

    first_s: float
    longest_s: float

    def pause_s(self, tries: int) -> float:
        """The pause after `tries` failures in a row; none before the first try."""
        if tries == 0:
            return 0.0
        # The exponent is bounded: failures may go on for days.
        longest: float = min(self.longest_s, self.first_s * 2 ** min(tries - 1, 20))
        return longest * (0.5 + random.random() / 2)


POLL = Backoff(0.02, 0.5)
# The steps of a refund, and its poll, which waits longer: refunds are few.
REFUND = Backoff(0.05, 2.0)
REFUND_POLL_WAIT_S = 5.0
# Raising the epoch, and reading what the ones before have decided (election by Bully).
START_OF_REIGN = Backoff(0.02, 0.5)
# How often a leader by Bully looks whether the epoch is still its own: it may hear of it in no other way.
EPOCH_CHECK_S = 0.5
_BACKOFFS: dict[type[Request | TryAgain], Backoff] = {
    SendPrepare: Backoff(0.05, 0.5),
    TryAgain: Backoff(0.05, 1.0),
    Propose: Backoff(0.02, 0.5),
    SendDecision: Backoff(0.05, 1.0),
    Complete: Backoff(0.05, 1.0),
    RecordAsFinished: Backoff(0.05, 1.0),
    ConfirmFinished: Backoff(0.05, 1.0),
}


def pause_before_s(action: Request | TryAgain) -> float:
    return _BACKOFFS[type(action)].pause_s(action.tries)
