"""Every rule of the coordinator, as its inputs and the actions that follow."""

import pytest

from utils.domain.order import REASONS_MAX, Reason
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
from utils.two_phase_commit.coordinator import (
    PREPARE_TRIES_MAX,
    AttemptState,
    Coordinator,
    IllegalTransitionError,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote, VoteKind

ORDER = "0" * 32
DB, PAYMENT = "database", "payment"
EPOCH = 5
NO_STOCK = Reason("out_of_stock", "Sold out.")
DECLINED = Reason("payment_declined", "Declined.")


def attempt(number: int = 1, epoch: int = EPOCH) -> Attempt:
    return Attempt(ORDER, epoch, number)


def committed(number: int = 1, epoch: int = EPOCH) -> OrderDecision:
    return OrderDecision(attempt(number, epoch), 7, commit=True)


def rejected(number: int = 1, epoch: int = EPOCH, *reasons: Reason) -> OrderDecision:
    return OrderDecision(attempt(number, epoch), 7, commit=False, reasons=reasons or (NO_STOCK,))


class Hand:
    """A coordinator and the log that it reads."""

    def __init__(self, known: OrderDecision | None = None) -> None:
        self.known = known
        self.coordinator = Coordinator(
            ORDER, 7, epoch=EPOCH, participants=(DB, PAYMENT), recorded_decision=lambda _order_id: self.known
        )

    def state(self) -> AttemptState:
        return self.coordinator.state

    def vote(self, participant: str, kind: VoteKind, number: int = 1, *reasons: Reason) -> list[Action]:
        return self.coordinator.voted(participant, Vote(attempt(number), kind, reasons))

    def refuse(self, participant: str, other: Attempt | None, kind: VoteKind = VoteKind.REFUSED) -> list[Action]:
        return self.coordinator.voted(participant, Vote(self.coordinator.attempt, kind, other_attempt=other))

    def acknowledge(self, participant: str, told: Decision, code: str = "", *, done: bool = True) -> list[Action]:
        return self.coordinator.acknowledged(SendDecision(participant, told), Acknowledgement(told.attempt, done, code))


@pytest.fixture
def hand() -> Hand:
    hand = Hand()
    assert hand.coordinator.start() == [SendPrepare(DB, attempt()), SendPrepare(PAYMENT, attempt())]
    return hand


def to_commit(hand: Hand) -> Decision:
    hand.vote(DB, VoteKind.COMMIT)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    hand.coordinator.recorded(committed())
    return Decision(attempt(), commit=True)


def test_an_order_that_all_can_serve_goes_through_every_state_once(hand: Hand) -> None:
    coordinator = hand.coordinator
    assert hand.state() is AttemptState.PREPARING
    assert hand.vote(PAYMENT, VoteKind.COMMIT) == []
    assert hand.vote(DB, VoteKind.COMMIT) == [Propose(committed())]
    assert hand.state() is AttemptState.COMMITTING
    told = Decision(attempt(), commit=True)
    assert coordinator.recorded(committed()) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]
    assert hand.acknowledge(PAYMENT, told, "OK-1") == []
    assert hand.acknowledge(DB, told) == [Complete(ORDER, approved=True, confirmation_code="OK-1", reasons=())]
    assert hand.state() is AttemptState.COMMITTED
    assert coordinator.completed() == [RecordAsFinished(ORDER)]
    assert not coordinator.is_finished
    assert coordinator.finished() == []
    assert coordinator.is_finished


def test_nobody_hears_of_a_decision_before_the_log_has_recorded_it(hand: Hand) -> None:
    hand.vote(DB, VoteKind.COMMIT)
    proposed = hand.vote(PAYMENT, VoteKind.COMMIT)
    assert not any(isinstance(action, SendDecision | Complete) for action in proposed)
    assert not hand.coordinator.is_recorded


def test_a_business_no_rejects_with_every_participants_reasons_in_their_order(hand: Hand) -> None:
    assert hand.vote(PAYMENT, VoteKind.ABORT, 1, DECLINED) == []
    decision = rejected(1, EPOCH, NO_STOCK, DECLINED)
    assert hand.vote(DB, VoteKind.ABORT, 1, NO_STOCK) == [Propose(decision)]
    told = Decision(attempt(), commit=False)
    assert hand.coordinator.recorded(decision) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]
    assert hand.acknowledge(DB, told) == []
    assert hand.acknowledge(PAYMENT, told) == [
        Complete(ORDER, approved=False, confirmation_code="", reasons=(NO_STOCK, DECLINED))
    ]
    assert hand.state() is AttemptState.ABORTED


def test_a_no_decides_whatever_else_the_others_say_and_only_noes_give_reasons(hand: Hand) -> None:
    hand.vote(DB, VoteKind.BUSY, 1, Reason("busy", "not a reason to reject"))
    assert hand.vote(PAYMENT, VoteKind.ABORT, 1, DECLINED) == [Propose(rejected(1, EPOCH, DECLINED))]


def test_reasons_are_bounded(hand: Hand) -> None:
    hand.vote(PAYMENT, VoteKind.ABORT, 1, DECLINED)
    (action,) = hand.vote(DB, VoteKind.ABORT, 1, *[NO_STOCK] * 80)
    assert isinstance(action, Propose)
    assert len(action.decision.reasons) == REASONS_MAX


@pytest.mark.parametrize(
    ("kind", "why"),
    [(VoteKind.BUSY, "database: busy, payment: commit"), (VoteKind.REFUSED, "database: refused, payment: commit")],
)
def test_what_is_no_vote_never_rejects_but_gives_the_attempt_up(hand: Hand, kind: VoteKind, why: str) -> None:
    hand.vote(PAYMENT, VoteKind.COMMIT)
    told = Decision(attempt(), commit=False)
    assert hand.refuse(DB, attempt(), kind) == [
        SendDecision(DB, told),
        SendDecision(PAYMENT, told),
        TryAgain(attempt(), 1, why),
    ]
    assert hand.state() is AttemptState.ABORTING
    assert hand.coordinator.try_again(attempt()) == [SendPrepare(DB, attempt(2)), SendPrepare(PAYMENT, attempt(2))]
    assert hand.state() is AttemptState.PREPARING


def test_a_silent_participant_is_asked_three_times_and_then_the_attempt_is_given_up(hand: Hand) -> None:
    hand.vote(DB, VoteKind.COMMIT)
    action = SendPrepare(PAYMENT, attempt())
    for tries in range(1, PREPARE_TRIES_MAX):
        again = SendPrepare(PAYMENT, attempt(), tries)
        assert hand.coordinator.failed(action) == [again]
        action = again
    actions = hand.coordinator.failed(action)
    assert actions[-1] == TryAgain(attempt(), 1, "database: commit, payment: no answer")
    assert not any(isinstance(action, Propose) for action in actions)


def test_pauses_between_attempts_grow(hand: Hand) -> None:
    for number in (1, 2, 3):
        hand.vote(DB, VoteKind.BUSY, number)
        actions = hand.vote(PAYMENT, VoteKind.COMMIT, number)
        assert actions[-1] == TryAgain(attempt(number), number, "database: busy, payment: commit")
        hand.coordinator.try_again(attempt(number))


def test_the_abort_of_a_given_up_attempt_is_said_once(hand: Hand) -> None:
    hand.vote(DB, VoteKind.BUSY)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    told = SendDecision(DB, Decision(attempt(), commit=False))
    assert hand.coordinator.failed(told) == []
    assert hand.acknowledge(DB, told.decision) == []
    assert hand.acknowledge(PAYMENT, told.decision) == []
    assert hand.state() is AttemptState.ABORTING


def test_late_and_doubled_votes_mean_nothing(hand: Hand) -> None:
    hand.vote(DB, VoteKind.BUSY)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    assert hand.vote(PAYMENT, VoteKind.ABORT, 1, DECLINED) == []  # the attempt is given up
    hand.coordinator.try_again(attempt())
    assert hand.vote(DB, VoteKind.COMMIT, 1) == []  # of the attempt before
    assert hand.vote(PAYMENT, VoteKind.COMMIT, 1) == []
    assert hand.vote(DB, VoteKind.COMMIT, 2) == []
    assert hand.vote(DB, VoteKind.COMMIT, 2) == []  # doubled: not the other participant's
    assert hand.coordinator.failed(SendPrepare(DB, attempt(2))) == []  # a doubled Prepare that failed
    assert hand.coordinator.failed(SendPrepare(PAYMENT, attempt(1))) == []
    assert hand.state() is AttemptState.PREPARING
    assert hand.vote(PAYMENT, VoteKind.COMMIT, 2) == [Propose(committed(2))]
    assert hand.coordinator.try_again(attempt()) == []  # a timer of the attempt before
    assert hand.coordinator.try_again(attempt(2)) == []  # nothing is given up once proposed
    assert hand.vote(PAYMENT, VoteKind.ABORT, 2, DECLINED) == []


def test_a_timer_starts_one_attempt_not_two(hand: Hand) -> None:
    hand.vote(DB, VoteKind.BUSY)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    assert len(hand.coordinator.try_again(attempt())) == 2
    assert hand.coordinator.try_again(attempt()) == []


def test_an_unknown_outcome_repeats_the_same_proposal_and_nothing_else(hand: Hand) -> None:
    hand.vote(DB, VoteKind.COMMIT)
    (action,) = hand.vote(PAYMENT, VoteKind.COMMIT)
    assert isinstance(action, Propose)
    for tries in range(1, 50):
        (action,) = hand.coordinator.failed(action)
        assert action == Propose(committed(), tries)
        assert not hand.coordinator.has_given_up(attempt())
    assert len(hand.coordinator.recorded(committed())) == 2
    # The answers to earlier ones of the same proposal come late.
    assert hand.coordinator.recorded(committed()) == []
    assert hand.coordinator.failed(action) == []


def test_what_the_log_answers_is_the_decision_whoever_proposed_it(hand: Hand) -> None:
    hand.vote(DB, VoteKind.COMMIT)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    earlier = rejected(1, EPOCH - 1)
    # All that was prepared since ends with it: the abort names the highest attempt.
    told = Decision(attempt(), commit=False)
    assert hand.coordinator.recorded(earlier) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]
    assert hand.state() is AttemptState.ABORTING
    hand.acknowledge(DB, told)
    assert hand.acknowledge(PAYMENT, told) == [Complete(ORDER, False, "", (NO_STOCK,))]


def test_a_no_that_comes_after_a_recorded_commit_commits(hand: Hand) -> None:
    hand.vote(DB, VoteKind.ABORT, 1, NO_STOCK)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    told = Decision(attempt(1, EPOCH - 1), commit=True)
    assert hand.coordinator.recorded(committed(1, EPOCH - 1)) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]
    assert hand.state() is AttemptState.COMMITTING


@pytest.mark.parametrize("commit", [True, False])
def test_a_decision_is_delivered_without_end_until_all_acknowledge(commit: bool) -> None:
    known = committed(3, EPOCH - 2) if commit else rejected(3, EPOCH - 2)
    hand = Hand(known)
    told = Decision(attempt(3, EPOCH - 2), commit=True) if commit else Decision(attempt(), commit=False)
    assert hand.coordinator.start() == [SendDecision(DB, told), SendDecision(PAYMENT, told)]
    assert hand.state() is (AttemptState.COMMITTING if commit else AttemptState.ABORTING)
    action = SendDecision(PAYMENT, told)
    for tries in range(1, 100):
        again = SendDecision(PAYMENT, told, tries)
        assert hand.coordinator.failed(action) == [again]
        action = again
    assert hand.acknowledge(PAYMENT, told, "OK-9") == []
    assert hand.acknowledge(PAYMENT, told, "OK-9") == []  # doubled: not the other participant's
    assert hand.coordinator.failed(action) == []  # a try that failed after another was acknowledged
    (end,) = hand.acknowledge(DB, told)
    assert end == (Complete(ORDER, True, "OK-9", ()) if commit else Complete(ORDER, False, "", (NO_STOCK,)))


def test_what_is_not_done_is_an_alarm_and_no_acknowledgement(hand: Hand) -> None:
    told = to_commit(hand)
    hand.acknowledge(PAYMENT, told, "OK-1")
    actions = hand.acknowledge(DB, told, done=False)
    assert isinstance(actions[0], Alarm)
    assert actions[1:] == [SendDecision(DB, told, 1)]
    assert hand.state() is AttemptState.COMMITTING
    assert hand.acknowledge(DB, told) == [Complete(ORDER, True, "OK-1", ())]


def test_an_acknowledgement_of_another_attempt_is_none(hand: Hand) -> None:
    told = to_commit(hand)
    actions = hand.coordinator.acknowledged(SendDecision(DB, told), Acknowledgement(attempt(9), done=True))
    assert isinstance(actions[0], Alarm)
    assert hand.acknowledge(PAYMENT, told, "OK-1") == []


def test_an_approval_without_a_confirmation_code_is_asked_for_again(hand: Hand) -> None:
    told = to_commit(hand)
    hand.acknowledge(DB, told)
    actions = hand.acknowledge(PAYMENT, told)
    assert isinstance(actions[0], Alarm)
    assert actions[1:] == [SendDecision(DB, told, 1), SendDecision(PAYMENT, told, 1)]
    hand.acknowledge(DB, told)
    assert hand.acknowledge(PAYMENT, told, "OK-1") == [Complete(ORDER, True, "OK-1", ())]


def test_the_queue_is_told_and_the_log_is_written_until_it_works(hand: Hand) -> None:
    told = to_commit(hand)
    hand.acknowledge(DB, told)
    (complete,) = hand.acknowledge(PAYMENT, told, "OK-1")
    assert isinstance(complete, Complete)
    assert hand.coordinator.failed(complete) == [Complete(ORDER, True, "OK-1", (), tries=1)]
    (finish,) = hand.coordinator.completed()
    assert isinstance(finish, RecordAsFinished)
    assert hand.coordinator.failed(finish) == [RecordAsFinished(ORDER, tries=1)]
    assert not hand.coordinator.is_finished


@pytest.mark.parametrize(
    ("other", "following"),
    [
        (attempt(1), 2),  # aborted before it came
        (attempt(4), 5),  # numbers of this epoch go on where they stopped
        (attempt(9, EPOCH + 1), 2),  # a later leader's: we are deposed, and the election will say so
        (attempt(9, EPOCH - 1), 2),
    ],
)
def test_the_next_attempt_is_above_the_one_that_refused_ours(hand: Hand, other: Attempt, following: int) -> None:
    hand.vote(PAYMENT, VoteKind.COMMIT)
    hand.refuse(DB, other)
    hand.coordinator.try_again(attempt())
    assert hand.coordinator.attempt == attempt(following)


def test_an_order_that_is_committed_already_ends_as_the_log_says(hand: Hand) -> None:
    hand.known = committed(2, EPOCH + 1)
    told = Decision(attempt(2, EPOCH + 1), commit=True)
    actions = hand.refuse(DB, attempt(2, EPOCH + 1), VoteKind.ALREADY_COMMITTED)
    assert actions == [SendDecision(DB, told), SendDecision(PAYMENT, told)]


def test_a_participant_that_committed_a_rejected_order_is_an_alarm(hand: Hand) -> None:
    hand.known = rejected(2, EPOCH - 1)
    actions = hand.refuse(DB, attempt(1, EPOCH - 1), VoteKind.ALREADY_COMMITTED)
    assert isinstance(actions[0], Alarm)
    assert len(actions) == 3


def test_an_order_below_the_watermark_ends_as_the_log_says(hand: Hand) -> None:
    hand.known = rejected(1, EPOCH - 1)
    told = Decision(attempt(), commit=False)
    assert hand.refuse(DB, None) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]


@pytest.mark.parametrize(
    ("other", "alarms"), [(attempt(1, EPOCH - 1), 1), (attempt(1, EPOCH), 1), (attempt(1, EPOCH + 1), 0), (None, 1)]
)
def test_a_commit_that_the_log_does_not_know_is_an_alarm_unless_a_later_leader_made_it(
    hand: Hand, other: Attempt | None, alarms: int
) -> None:
    kind = VoteKind.REFUSED if other is None else VoteKind.ALREADY_COMMITTED
    assert len([action for action in hand.refuse(DB, other, kind) if isinstance(action, Alarm)]) == alarms
    assert hand.vote(PAYMENT, VoteKind.COMMIT)[-1] == TryAgain(attempt(), 1, f"database: {kind.value}, payment: commit")
    assert hand.coordinator.decision is None


def test_a_no_without_a_reason_is_an_alarm_and_rejects_nobody(hand: Hand) -> None:
    assert isinstance(hand.vote(DB, VoteKind.ABORT)[0], Alarm)
    assert isinstance(hand.vote(PAYMENT, VoteKind.COMMIT)[-1], TryAgain)


def test_an_order_decided_during_the_pause_is_not_attempted_again(hand: Hand) -> None:
    hand.vote(DB, VoteKind.BUSY)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    hand.known = rejected(1, EPOCH - 1)
    told = Decision(attempt(2), commit=False)
    assert hand.coordinator.try_again(attempt()) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]


def test_only_what_was_ended_before_proposing_counts_as_given_up(hand: Hand) -> None:
    coordinator = hand.coordinator
    assert not coordinator.has_given_up(attempt(1))
    hand.vote(DB, VoteKind.BUSY)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    assert coordinator.has_given_up(attempt(1))
    coordinator.try_again(attempt())
    assert coordinator.has_given_up(attempt(1))
    assert not coordinator.has_given_up(attempt(2))
    assert not coordinator.has_given_up(attempt(3))
    hand.vote(DB, VoteKind.ABORT, 2, NO_STOCK)
    hand.vote(PAYMENT, VoteKind.COMMIT, 2)
    assert hand.state() is AttemptState.ABORTING
    assert not coordinator.has_given_up(attempt(2))  # a REJECT is proposed, and a COMMIT cannot be; but the log decides


def test_a_coordinator_starts_once(hand: Hand) -> None:
    with pytest.raises(IllegalTransitionError):
        hand.coordinator.start()


def test_an_order_is_not_completed_before_it_ended(hand: Hand) -> None:
    with pytest.raises(AssertionError):
        hand.coordinator.completed()
