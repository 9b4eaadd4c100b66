"""What the executor needs of the world, so that tests can put something else in its place."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from utils.clocks.story import PackedClock, Story
from utils.domain.order import QueuedOrder, Reason
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog
from utils.two_phase_commit.messages import Acknowledgement, Compensated, Compensation, Decision, Transaction, Vote


class ClaimedOrder(msgspec.Struct, frozen=True):
    order: QueuedOrder
    # Its index in the queue's log.
    position: int
    # The queue's.
    clock: PackedClock = b""


class Claimed(msgspec.Struct, frozen=True):
    """The answer to a poll. Every order below the position `ended_below` has ended; 0 where nobody says so."""

    orders: Sequence[ClaimedOrder] = ()
    ended_below: int = 0


class OrderResult(msgspec.Struct, frozen=True):
    """Approved with payment's confirmation code, or rejected with at least one reason."""

    order_id: str
    epoch: int
    approved: bool
    confirmation_code: str
    reasons: tuple[Reason, ...]
    # Of the executors and the participants.
    story: Story = ()
    clock: PackedClock = b""


class UnfinishedRefund(msgspec.Struct, frozen=True):
    """An approved order that an operator has taken back; its copies return to the shelf, or are lost."""

    compensation: Compensation
    restock: bool


class OrderQueue(Protocol):
    """Every method raises ServiceError."""

    async def dequeue(self, epoch: int, held_order_ids: Sequence[str], max_orders: int, wait_s: float) -> Claimed:
        """Claims exactly the held orders and those answered; waits up to `wait_s` for a first one."""

    async def complete(self, results: Sequence[OrderResult]) -> Sequence[None]:
        """Idempotent: the first result of an order wins."""

    async def poll_refunds(
        self, held_order_ids: Sequence[str], max_refunds: int, wait_s: float
    ) -> Sequence[UnfinishedRefund]:
        """Those that are requested, not completed and not held; waits up to `wait_s` for a first one."""

    async def complete_refund(self, order_id: str, refund_code: str, story: Story) -> None:
        """Idempotent."""


class Participant(Protocol):
    """Every method is idempotent, answers in the order asked, and raises ServiceError."""

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> Sequence[Vote]:
        """`finished_below`: all orders below this position are finished, and may be forgotten."""

    async def decide(self, decisions: Sequence[Decision]) -> Sequence[Acknowledgement]: ...

    async def compensate(self, compensation: Compensation) -> Compensated:
        """Undoes the order's commit. Raises FailedPrecondition if there was none."""


@dataclass(frozen=True)
class LeaderStatus:
    """What a node knows of who leads.

    `epoch`: the highest that it knows of. `ready`: this node leads in it, and `Election.decisions` has every decision
    of the epochs below.
    """

    node_id: str
    epoch: int
    leader_id: str | None
    leader_address: str | None
    ready: bool


class Election(Protocol):
    """Who leads the executors, and the decisions that a leader of an epoch may still record.

    At most one node is ever ready in an epoch, and no decision of an epoch is recorded once a node is ready in a higher
    one: so two that believe to lead at the same time cannot both act.
    """

    @property
    def status(self) -> LeaderStatus: ...

    @property
    def decisions(self) -> DecisionLog:
        """What this node has heard of the decisions; while it is ready, all of them. Not to be changed from outside."""

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until epoch, leader or readiness is another than when it was called."""

    async def record(self, commands: Sequence[Command], *, epoch: int) -> Sequence[OrderDecision | None]:
        """For each command, the order's decision: the first that was recorded.

        Raises RaftError or ServiceError, whatever became of the commands; they may be recorded again.
        """

    async def hand_over(self) -> None:
        """Lets another node lead; until then this one is not ready. Raises RaftError if nobody takes over."""
