"""Decisions: what the log answers, and how everybody comes to know it."""

import pytest

from tests.unit.two_phase_commit_coordinator.hand import (
    DB,
    EPOCH,
    NO_STOCK,
    ORDER,
    PAYMENT,
    POSITION,
    Hand,
    attempt,
    committed,
    rejected,
    to_commit,
)
from utils.two_phase_commit.actions import (
    Alarm,
    Complete,
    ConfirmFinished,
    OrderDecision,
    Propose,
    RecordAsFinished,
    SendDecision,
    TryAgain,
)
from utils.two_phase_commit.coordinator import (
    AttemptState,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, VoteKind


def test_an_unknown_outcome_repeats_the_same_proposal_and_nothing_else(hand: Hand) -> None:
    hand.vote(DB, VoteKind.COMMIT)
    (action,) = hand.vote(PAYMENT, VoteKind.COMMIT)
    assert isinstance(action, Propose)
    for tries in range(1, 50):
        again = Propose(committed(), tries)
        assert hand.coordinator.failed(action) == [again]
        action = again
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
    ("other", "alarms"), [(attempt(1, EPOCH - 1), 1), (attempt(1, EPOCH), 1), (attempt(1, EPOCH + 1), 0)]
)
def test_a_commit_that_the_log_does_not_know_is_an_alarm_unless_a_later_leader_made_it(
    hand: Hand, other: Attempt, alarms: int
) -> None:
    kind = VoteKind.ALREADY_COMMITTED
    assert len([action for action in hand.refuse(DB, other, kind) if isinstance(action, Alarm)]) == alarms
    assert hand.vote(PAYMENT, VoteKind.COMMIT)[-1] == TryAgain(attempt(), 1, f"database: {kind.value}, payment: commit")
    assert hand.coordinator.decision is None


def test_an_order_that_a_participant_calls_finished_is_looked_up_in_the_log_of_whoever_leads(hand: Hand) -> None:
    """A deposed leader never gets an answer, and so raises no false alarm."""
    asks = ConfirmFinished(attempt().order_id)
    assert hand.refuse(DB, None) == [asks]
    assert hand.coordinator.failed(asks) == [ConfirmFinished(attempt().order_id, 1)]
    assert hand.coordinator.confirmed(POSITION + 1) == []
    assert hand.coordinator.is_finished


def test_an_order_that_only_a_participant_calls_finished_is_an_alarm_and_is_tried_again(hand: Hand) -> None:
    hand.refuse(DB, None)
    (alarm,) = hand.coordinator.confirmed(POSITION)
    assert isinstance(alarm, Alarm)
    assert not hand.coordinator.is_finished
    assert hand.vote(PAYMENT, VoteKind.COMMIT)[-1] == TryAgain(attempt(), 1, "database: refused, payment: commit")


@pytest.mark.parametrize("decision", [committed(), rejected()], ids=["commit", "reject"])
def test_a_decision_told_too_late_is_no_acknowledgement_and_ends_with_the_log(
    hand: Hand, decision: OrderDecision
) -> None:
    hand.known = decision
    told, _ = hand.coordinator.start()
    assert isinstance(told, SendDecision)
    answer = Acknowledgement(told.decision.attempt, done=True, finished=True)
    assert hand.coordinator.acknowledged(told, answer) == [ConfirmFinished(attempt().order_id)]
    assert hand.coordinator.confirmed(POSITION + 1) == []
    assert hand.coordinator.is_finished


def test_an_order_decided_during_the_pause_is_not_attempted_again(hand: Hand) -> None:
    hand.vote(DB, VoteKind.BUSY)
    hand.vote(PAYMENT, VoteKind.COMMIT)
    hand.known = rejected(1, EPOCH - 1)
    told = Decision(attempt(2), commit=False)
    assert hand.coordinator.try_again(attempt()) == [SendDecision(DB, told), SendDecision(PAYMENT, told)]


def test_an_order_is_not_completed_before_it_ended(hand: Hand) -> None:
    with pytest.raises(AssertionError):
        hand.coordinator.completed()
