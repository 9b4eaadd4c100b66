"""Attempts: how an order is tried, tried again, and brought to a proposal."""

import pytest

from tests.unit.two_phase_commit_coordinator.hand import (
    DB,
    DECLINED,
    EPOCH,
    NO_STOCK,
    ORDER,
    PAYMENT,
    Hand,
    attempt,
    committed,
    rejected,
)
from utils.domain.order import REASONS_MAX, Reason
from utils.two_phase_commit.actions import (
    Alarm,
    Complete,
    Propose,
    RecordAsFinished,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.coordinator import (
    PREPARE_TRIES_MAX,
    AttemptState,
    IllegalTransitionError,
)
from utils.two_phase_commit.messages import Attempt, Decision, VoteKind


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


def test_a_no_without_a_reason_is_an_alarm_and_rejects_nobody(hand: Hand) -> None:
    assert isinstance(hand.vote(DB, VoteKind.ABORT)[0], Alarm)
    assert isinstance(hand.vote(PAYMENT, VoteKind.COMMIT)[-1], TryAgain)


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
