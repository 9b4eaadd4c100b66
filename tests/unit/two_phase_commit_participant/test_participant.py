"""The fencing rules, one test for each sentence."""

import pytest

from tests.unit.two_phase_commit_participant.fake_business import BUSY, NO, SOLD_OUT, YES, FakeBusiness
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Vote, VoteKind
from utils.two_phase_commit.participant import IllegalTransitionError, Participant, Phase, Record


class Node(Participant[str]):
    """With a business of its own."""

    def __init__(self) -> None:
        self.business = FakeBusiness()
        super().__init__(self.business, host="database")

    def ask(self, of: Attempt) -> Vote:
        return self.prepare(of, 10, "work")


@pytest.fixture
def node() -> Node:
    return Node()


def test_prepare_holds_and_votes_commit(node: Node) -> None:
    assert node.ask(attempt()) == Vote(attempt(), VoteKind.COMMIT)
    assert node.business.held == {attempt().order_id: attempt()}
    assert node.in_doubt == (attempt(),)


def test_prepare_again_gets_the_same_vote_and_holds_once(node: Node) -> None:
    first = node.ask(attempt())
    node.business.verdict = NO
    assert node.ask(attempt()) == first
    assert node.business.asked == [attempt()]


def test_another_content_under_the_same_number_gets_no_vote_and_changes_nothing(node: Node) -> None:
    node.ask(attempt())
    other = node.prepare(attempt(), 10, "other work")
    assert other == Vote(attempt(), VoteKind.REFUSED, other_attempt=attempt())
    assert node.records[attempt().order_id].work == "work"
    assert node.ask(attempt()).kind is VoteKind.COMMIT


def test_a_no_is_the_same_for_ever_and_holds_nothing(node: Node) -> None:
    node.business.verdict = NO
    assert node.ask(attempt()) == Vote(attempt(), VoteKind.ABORT, (SOLD_OUT,))
    node.business.verdict = YES
    assert node.ask(attempt()) == Vote(attempt(), VoteKind.ABORT, (SOLD_OUT,))
    assert node.business.held == {}
    assert node.in_doubt == ()


def test_busy_is_no_vote_so_the_same_attempt_may_ask_again(node: Node) -> None:
    node.business.verdict = BUSY
    assert node.ask(attempt()) == Vote(attempt(), VoteKind.BUSY)
    assert node.in_doubt == ()
    node.business.verdict = YES
    assert node.ask(attempt()) == Vote(attempt(), VoteKind.COMMIT)


def test_busy_raises_the_fence_all_the_same(node: Node) -> None:
    node.business.verdict = BUSY
    node.ask(attempt(2))
    assert node.ask(attempt(1)) == Vote(attempt(1), VoteKind.REFUSED, other_attempt=attempt(2))


@pytest.mark.parametrize("lower", [attempt(1), attempt(9, epoch=1)])
def test_prepare_below_the_highest_seen_is_refused(node: Node, lower: Attempt) -> None:
    node.ask(attempt(2, epoch=2))
    assert node.ask(lower) == Vote(lower, VoteKind.REFUSED, other_attempt=attempt(2, epoch=2))
    assert node.business.asked == [attempt(2, epoch=2)]


@pytest.mark.parametrize("higher", [attempt(2), attempt(1, epoch=2)])
def test_prepare_above_rolls_the_older_one_back_first(node: Node, higher: Attempt) -> None:
    node.ask(attempt(1))
    assert node.ask(higher) == Vote(higher, VoteKind.COMMIT)
    assert node.business.held == {higher.order_id: higher}
    assert node.in_doubt == (higher,)


def test_the_older_one_is_rolled_back_even_if_the_newer_one_cannot_be_held(node: Node) -> None:
    node.ask(attempt(1))
    node.business.verdict = NO
    assert node.ask(attempt(2)).kind is VoteKind.ABORT
    assert node.business.held == {}
    assert node.in_doubt == ()


def test_orders_do_not_fence_each_other(node: Node) -> None:
    node.ask(attempt(5, order=1))
    assert node.ask(attempt(1, order=2)).kind is VoteKind.COMMIT
    assert set(node.in_doubt) == {attempt(5, order=1), attempt(1, order=2)}


def test_commit_is_carried_out_once_and_acknowledged_each_time(node: Node) -> None:
    node.ask(attempt())
    done = Acknowledgement(attempt(), done=True, confirmation_code="code of 1.1")
    assert node.decide(commit(attempt())) == done
    assert node.decide(commit(attempt())) == done
    assert node.business.committed == {attempt().order_id: attempt()}
    assert node.in_doubt == ()


@pytest.mark.parametrize("other", [attempt(1), attempt(3), attempt(2, epoch=2)])
def test_commit_of_any_other_attempt_is_an_alarm(node: Node, other: Attempt) -> None:
    node.ask(attempt(2))
    assert node.decide(commit(other)) == Acknowledgement(other, done=False)
    assert node.business.committed == {}
    assert node.business.held == {attempt().order_id: attempt(2)}


def test_commit_of_an_unknown_order_is_an_alarm(node: Node) -> None:
    assert node.decide(commit(attempt())) == Acknowledgement(attempt(), done=False)
    assert node.records == {}


@pytest.mark.parametrize("verdict", [NO, BUSY])
def test_commit_of_what_is_not_held_is_an_alarm(node: Node, verdict: object) -> None:
    node.business.verdict = NO if verdict is NO else BUSY
    node.ask(attempt())
    assert not node.decide(commit(attempt())).done


def test_commit_after_abort_is_an_alarm(node: Node) -> None:
    node.ask(attempt())
    node.decide(abort(attempt()))
    assert not node.decide(commit(attempt())).done
    assert node.business.committed == {}


def test_a_committed_order_says_so_to_every_prepare(node: Node) -> None:
    node.ask(attempt(2))
    node.decide(commit(attempt(2)))
    for later in (attempt(1), attempt(2), attempt(3), attempt(1, epoch=9)):
        assert node.ask(later) == Vote(later, VoteKind.ALREADY_COMMITTED, other_attempt=attempt(2))
    assert node.business.asked == [attempt(2)]


@pytest.mark.parametrize("upto", [attempt(2), attempt(3), attempt(1, epoch=2)])
def test_abort_ends_what_is_prepared_at_or_below_it(node: Node, upto: Attempt) -> None:
    node.ask(attempt(2))
    assert node.decide(abort(upto)) == Acknowledgement(upto, done=True)
    assert node.business.held == {}
    assert node.in_doubt == ()


def test_abort_of_an_older_attempt_leaves_the_newer_one(node: Node) -> None:
    node.ask(attempt(2))
    assert node.decide(abort(attempt(1))).done
    assert node.business.held == {attempt().order_id: attempt(2)}
    assert node.ask(attempt(2)).kind is VoteKind.COMMIT


def test_abort_leaves_a_mark_so_that_a_late_prepare_is_refused(node: Node) -> None:
    assert node.decide(abort(attempt(2))).done
    for late in (attempt(1), attempt(2)):
        assert node.ask(late) == Vote(late, VoteKind.REFUSED, other_attempt=attempt(2))
    assert node.ask(attempt(3)).kind is VoteKind.COMMIT


def test_abort_raises_the_fence_to_its_own_attempt(node: Node) -> None:
    node.ask(attempt(1))
    node.decide(abort(attempt(3)))
    assert node.ask(attempt(2)) == Vote(attempt(2), VoteKind.REFUSED, other_attempt=attempt(3))


@pytest.mark.parametrize("verdict", ["no", "busy"])
def test_abort_ends_an_attempt_that_held_nothing(node: Node, verdict: str) -> None:
    node.business.verdict = NO if verdict == "no" else BUSY
    node.ask(attempt())
    assert node.decide(abort(attempt())).done
    assert node.ask(attempt()).kind is VoteKind.REFUSED


@pytest.mark.parametrize("other", [attempt(1), attempt(3), attempt(1, epoch=2)])
def test_abort_never_touches_a_committed_order(node: Node, other: Attempt) -> None:
    node.ask(attempt(2))
    node.decide(commit(attempt(2)))
    assert node.decide(abort(other)).done
    assert node.business.committed == {attempt().order_id: attempt(2)}
    assert node.decide(commit(attempt(2))).done


def test_abort_of_the_committed_attempt_itself_is_an_alarm(node: Node) -> None:
    node.ask(attempt())
    node.decide(commit(attempt()))
    assert node.decide(abort(attempt())) == Acknowledgement(attempt(), done=False)
    assert node.business.committed == {attempt().order_id: attempt()}


def test_orders_below_the_watermark_are_refused_as_finished(node: Node) -> None:
    node.finish_below(11)
    node.finish_below(5)
    assert node.ask(attempt()) == Vote(attempt(), VoteKind.REFUSED)
    assert node.prepare(attempt(), 11, "work").kind is VoteKind.COMMIT


def test_a_finished_order_is_forgotten_and_whatever_is_asked_of_it_is_answered_as_finished(node: Node) -> None:
    node.ask(attempt(order=1))
    node.decide(commit(attempt(order=1)))
    node.decide(abort(attempt(order=2), position=10))
    node.finish_below(11)
    assert sorted(node.prune()) == [attempt(order=1).order_id, attempt(order=2).order_id]
    assert node.records == {}
    for order in (1, 2):
        for decision in (commit(attempt(order=order), position=10), abort(attempt(9, order=order), position=10)):
            assert node.decide(decision) == Acknowledgement(decision.attempt, done=True, finished=True)
        assert node.ask(attempt(9, order=order)) == Vote(attempt(9, order=order), VoteKind.REFUSED)
    assert node.records == {}
    assert list(node.business.committed) == [attempt(order=1).order_id]


def test_an_unknown_order_that_is_not_finished_is_an_alarm_still(node: Node) -> None:
    node.finish_below(11)
    node.prune()
    assert not node.decide(commit(attempt(), position=11)).done
    assert not node.decide(commit(attempt())).done


def test_a_hold_below_the_watermark_is_kept_until_its_decision(node: Node) -> None:
    """It cannot be; but a hold that nobody remembers would be worse."""
    node.ask(attempt())
    node.finish_below(11)
    assert node.prune() == []
    assert node.in_doubt == (attempt(),)
    assert node.decide(commit(attempt(), position=10)) == Acknowledgement(attempt(), True, "code of 1.1")


def test_a_restored_participant_prunes_as_before(node: Node) -> None:
    node.ask(attempt())
    node.decide(abort(attempt()))
    again = Node()
    again.restore(dict(node.records), finished_below=11)
    assert again.prune() == [attempt().order_id]


def test_a_restored_participant_answers_as_before(node: Node) -> None:
    node.ask(attempt(order=1))
    node.ask(attempt(2, order=2))
    node.decide(commit(attempt(2, order=2)))
    again = Node()
    again.restore(dict(node.records), finished_below=10)
    again.business.held = dict(node.business.held)
    assert again.in_doubt == (attempt(order=1),)
    assert again.finished_below == 10
    assert again.decide(commit(attempt(order=1))).done
    assert again.decide(commit(attempt(2, order=2))).confirmation_code == "code of 1.2"
    assert again.business.committed == {attempt(order=1).order_id: attempt(order=1)}


@pytest.mark.parametrize("phase", list(Phase))
def test_nothing_leaves_the_committed_phase(node: Node, phase: Phase) -> None:
    node.ask(attempt())
    node.decide(commit(attempt()))
    with pytest.raises(IllegalTransitionError):
        node._move(Record(attempt(2), phase, 10))


def test_the_fence_never_falls(node: Node) -> None:
    node.ask(attempt(2))
    with pytest.raises(IllegalTransitionError):
        node._move(Record(attempt(1), Phase.ABORTED, 10))


def test_nothing_is_committed_that_was_not_prepared(node: Node) -> None:
    with pytest.raises(IllegalTransitionError):
        node._move(Record(attempt(), Phase.COMMITTED, 10))
