"""Decisions behind an epoch, for leaders that an election alone cannot tell apart.

Two nodes may believe at the same time that they lead (a split, under Bully). Whoever starts to lead raises the epoch
first, by compare-and-set; a decision is recorded under the condition that the epoch is still the writer's, checked in
the same step as it is written. So after a raise no decision of an older epoch is recorded any more, and what is read
then is all that the older ones have decided.
"""

from collections.abc import Sequence

import msgspec

from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog


class Epoch(msgspec.Struct, frozen=True):
    """Who leads. Each start of leading has another `incarnation`, so that nobody takes an old epoch for its own."""

    number: int
    node_id: str
    incarnation: str


NO_EPOCH = Epoch(0, "", "")


class FencedLog:
    """Deterministic and pure; part of a replicated state machine."""

    def __init__(self) -> None:
        self.epoch = NO_EPOCH
        self.decisions = DecisionLog()

    def restore(self, epoch: Epoch, decisions: bytes | None) -> None:
        """Replaces everything; None: there are no decisions."""
        self.epoch = epoch
        self.decisions = DecisionLog()
        if decisions is not None:
            self.decisions.restore(decisions)

    def raise_epoch(self, expected_number: int, node_id: str, incarnation: str, *, above: int) -> Epoch:
        """Compare-and-set: the epoch after it, which is the caller's if it carries its incarnation.

        The new number is also above `above`, the highest epoch that is known from elsewhere.
        """
        if self.epoch.number == expected_number:
            self.epoch = Epoch(max(self.epoch.number, above) + 1, node_id, incarnation)
        return self.epoch

    def record(self, epoch: Epoch, commands: Sequence[Command]) -> tuple[OrderDecision | None, ...] | Epoch:
        """For each command the order's decision; or the epoch that is not the writer's: then nothing was recorded."""
        if epoch != self.epoch:
            return self.epoch
        return tuple(self.decisions.record(command) for command in commands)
