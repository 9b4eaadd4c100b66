"""A coordinator in a test's hand, with the words that its tests are made of."""

from utils.domain.order import Reason
from utils.two_phase_commit.actions import (
    Action,
    OrderDecision,
    SendDecision,
)
from utils.two_phase_commit.coordinator import (
    AttemptState,
    Coordinator,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote, VoteKind

ORDER = "0" * 32
DB, PAYMENT = "database", "payment"
EPOCH = 5
POSITION = 7
NO_STOCK = Reason("out_of_stock", "Sold out.")
DECLINED = Reason("payment_declined", "Declined.")


def attempt(number: int = 1, epoch: int = EPOCH) -> Attempt:
    return Attempt(ORDER, epoch, number)


def committed(number: int = 1, epoch: int = EPOCH) -> OrderDecision:
    return OrderDecision(attempt(number, epoch), POSITION, commit=True)


def rejected(number: int = 1, epoch: int = EPOCH, *reasons: Reason) -> OrderDecision:
    return OrderDecision(attempt(number, epoch), POSITION, commit=False, reasons=reasons or (NO_STOCK,))


class Hand:
    """A coordinator and the log that it reads."""

    def __init__(self, known: OrderDecision | None = None) -> None:
        self.known = known
        self.coordinator = Coordinator(
            ORDER, POSITION, epoch=EPOCH, participants=(DB, PAYMENT), recorded_decision=lambda _order_id: self.known
        )

    def state(self) -> AttemptState:
        return self.coordinator.state

    def vote(self, participant: str, kind: VoteKind, number: int = 1, *reasons: Reason) -> list[Action]:
        return self.coordinator.voted(participant, Vote(attempt(number), kind, reasons))

    def refuse(self, participant: str, other: Attempt | None, kind: VoteKind = VoteKind.REFUSED) -> list[Action]:
        return self.coordinator.voted(participant, Vote(self.coordinator.attempt, kind, other_attempt=other))

    def acknowledge(self, participant: str, told: Decision, code: str = "", *, done: bool = True) -> list[Action]:
        return self.coordinator.acknowledged(SendDecision(participant, told), Acknowledgement(told.attempt, done, code))


def to_commit(hand: Hand) -> Decision:
    hand.vote(DB, VoteKind.COMMIT)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    hand.coordinator.recorded(committed())
    return Decision(attempt(), commit=True)
