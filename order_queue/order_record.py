"""What the queue knows of one order, from its acceptance to its end."""

import enum

import msgspec

from utils.clocks.story import PackedClock, Story
from utils.domain.order import QueuedOrder, Reason


class OrderState(enum.StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Refund(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operator takes an approved order back: the first request of an order stands. Indexes are of the log."""

    operator: str
    reason: str
    # Whether the copies return to the shelf.
    restock: bool
    # For people.
    requested_at_ms: int
    requested_index: int
    # Of payment; once all of it is done.
    refund_code: str = ""
    # 0: not yet.
    done_index: int = 0


class OrderRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Immutable: an order's end replaces its record, once, and the end never changes. What may follow is a refund.

    `position` is the log index at which the order arrived, `ended_index` the one at which it ended (0: not yet). An
    order that verification rejected was never enqueued: its `order` is None, and both indexes are the same.
    """

    order_id: str
    state: OrderState
    position: int
    fingerprint: bytes
    risk_score: int = 0
    order: QueuedOrder | None = None
    reasons: tuple[Reason, ...] = ()
    confirmation_code: str = ""
    ended_index: int = 0
    # Of verification and of the queue; at the end also what came with the result, and so all of it.
    story: Story = ()
    refund: Refund | None = None

    @property
    def changed_index(self) -> int:
        """The log index since which the record of an ended order is as it is."""
        return self.ended_index if self.refund is None else self.refund.done_index or self.refund.requested_index


class OrderResult(msgspec.Struct, frozen=True):
    """How the executor leader of `epoch` says that an order ended: approved with a code, or rejected with reasons."""

    order_id: str
    epoch: int
    approved: bool
    confirmation_code: str = ""
    reasons: tuple[Reason, ...] = ()
    # Of the executors and the participants; and the clock after all of it.
    story: Story = ()
    clock: PackedClock = b""

    @property
    def state(self) -> OrderState:
        return OrderState.APPROVED if self.approved else OrderState.REJECTED

    def agrees_with(self, record: OrderRecord) -> bool:
        """Whether `record` ended as this result says; who said it does not matter."""
        return (
            record.state == self.state
            and record.confirmation_code == self.confirmation_code
            and record.reasons == self.reasons
        )
