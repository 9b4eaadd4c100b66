"""The words of two-phase commit (presumed abort; Mohan, Lindsay & Obermarck 1986), fenced by attempt.

A `clock` is the sender's, packed, b"" where nobody keeps one; a `story` its events (utils.clocks.story).
"""

import enum

import msgspec

from utils.clocks.story import PackedClock, Story
from utils.domain.order import PaymentInstrument, PricedItem, Reason


class Attempt(msgspec.Struct, frozen=True, order=True):
    """One try to commit one order.

    Attempts of the same order compare as numbers, epoch first. `epoch` is the coordinator's Raft term;
    `number` counts 1, 2, ... within it.
    """

    order_id: str
    epoch: int
    number: int


class Transaction(msgspec.Struct, frozen=True):
    """What a Prepare asks for: everything that any participant needs, and each reads its own part."""

    attempt: Attempt
    # The order's index in the queue's log.
    position: int
    items: tuple[PricedItem, ...]
    amount_cents: int
    instrument: PaymentInstrument
    clock: PackedClock = b""


class VoteKind(enum.StrEnum):
    COMMIT = "commit"
    # A business reason: always the same for this attempt.
    ABORT = "abort"
    # The other three are not votes. Refused: the attempt ended before, or a higher one has been seen.
    REFUSED = "refused"
    # What is missing is held by undecided transactions: try again.
    BUSY = "busy"
    ALREADY_COMMITTED = "already_committed"

    @property
    def is_vote(self) -> bool:
        """Whether the participant has bound itself by it."""
        return self in (VoteKind.COMMIT, VoteKind.ABORT)


class Vote(msgspec.Struct, frozen=True):
    """A participant's answer to the Prepare of `attempt`."""

    attempt: Attempt
    kind: VoteKind
    # At least one with ABORT, none otherwise.
    reasons: tuple[Reason, ...] = ()
    # With REFUSED, the highest attempt seen (None: the order is below the watermark of finished ones);
    # with ALREADY_COMMITTED, the committed one.
    other_attempt: Attempt | None = None
    clock: PackedClock = b""


class Decision(msgspec.Struct, frozen=True):
    """Commit exactly this attempt, or end every prepared attempt of the order up to this one.

    `position` is the order's index in the queue's log; 0 where that is not known.
    """

    attempt: Attempt
    commit: bool
    position: int = 0
    clock: PackedClock = b""


class Acknowledgement(msgspec.Struct, frozen=True):
    """A participant's answer to a decision.

    Not `done`: a Commit of an attempt that is neither prepared nor committed there, or an Abort of the committed one;
    an alarm, and never to be taken for an acknowledgement. `confirmation_code` comes from payment, with a commit.
    `finished`: the order is below the watermark of finished ones, and no more is known of it here.
    """

    attempt: Attempt
    done: bool
    confirmation_code: str = ""
    finished: bool = False
    story: Story = ()


class Compensation(msgspec.Struct, frozen=True):
    """An approved order is taken back: a compensating transaction (Garcia-Molina & Salem 1987), asked of each
    participant, which undoes its own part once.

    `position` is the order's index in the queue's log.
    """

    order_id: str
    position: int
    items: tuple[PricedItem, ...]
    amount_cents: int
    clock: PackedClock = b""


class Compensated(msgspec.Struct, frozen=True):
    """A participant's answer to a compensation; the same for the same question. `refund_code` comes from payment."""

    refund_code: str = ""
    story: Story = ()


class ResolutionKind(enum.StrEnum):
    COMMITTED = "committed"
    ABORTED = "aborted"
    # Ask again later.
    UNDECIDED = "undecided"


class Resolution(msgspec.Struct, frozen=True):
    """The coordinator's answer to a participant in doubt about exactly this attempt."""

    attempt: Attempt
    kind: ResolutionKind
    # Of the order's decision, where there is one.
    clock: PackedClock = b""
