"""The vector clock of one order in the hands of one leader, and the story that goes into the log with its decision.

The executors are one host, and their leaders count one after another. A leader does not know what attempts the ones
before it began, so each counts from a number of its epoch: no count is given twice, and later epochs count higher.
"""

import msgspec

from utils.clocks.story import (
    EVENTS_MAX,
    ORDER_EXECUTOR,
    PackedClock,
    Story,
    last_clock,
    pack_clock,
    tell,
    unpack_clock,
)
from utils.clocks.vector_clock import VectorClock
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.messages import Attempt

# More than a leader can have events of one order.
COUNTS_PER_EPOCH = 1 << 20


class OrderClock:
    """`heard`: what came with the order."""

    def __init__(self, epoch: int, heard: PackedClock) -> None:
        self._known = unpack_clock(heard).merge(VectorClock({ORDER_EXECUTOR: epoch * COUNTS_PER_EPOCH}))
        self._asking: Attempt | None = None
        self._decision: OrderDecision | None = None
        self._story: Story = ()
        # By participant, as far as it was told.
        self._elsewhere: dict[str, Story] = {}

    @property
    def now(self) -> PackedClock:
        return pack_clock(self._known)

    @property
    def story(self) -> Story:
        """Of the executors, and of the participants as far as they have told it."""
        return (*self._story, *(event for told in self._elsewhere.values() for event in told))

    def voted(self, clock: PackedClock) -> None:
        """A vote came, with the participant's clock."""
        self._known = self._known.merge(unpack_clock(clock))

    def acknowledged(self, participant: str, story: Story) -> None:
        """An acknowledgement came, perhaps after a later one."""
        clock = last_clock(story)
        if last_clock(self._elsewhere.get(participant, ())) <= clock:
            self._elsewhere[participant] = story
        self._known = self._known.merge(clock)

    def ask(self, attempt: Attempt) -> PackedClock:
        """The clock with which participants are asked to prepare the attempt: one event, however often they are."""
        if attempt != self._asking:
            self._asking = attempt
            self._tell("prepare", attempt)
        return self.now

    def decide(self, decision: OrderDecision) -> OrderDecision:
        """With the story until then; the same again for the same proposal."""
        if self._decision is None:
            self._tell("commit decided" if decision.commit else "reject decided", decision.attempt)
            self._decision = msgspec.structs.replace(decision, story=self._story)
        return self._decision

    def recorded(self, decision: OrderDecision) -> None:
        """The log has decided, for this leader or for one before it: what it says is the executors' story."""
        self._story = decision.story
        self._known = self._known.merge(last_clock(decision.story))

    def _tell(self, name: str, attempt: Attempt) -> None:
        story = tell(self._story, ORDER_EXECUTOR, name, self._known, epoch=attempt.epoch, number=attempt.number)
        self._story = story[-EVENTS_MAX:]
        self._known = last_clock(story)
