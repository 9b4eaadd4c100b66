"""An epoch is raised by one, and what an older one decides after that is not recorded."""

import pytest

from tests.unit.two_phase_commit_decision_log.test_decision_log import commit, reject
from utils.two_phase_commit.decision_log import DecisionLog, PublishFinished, RecordDecision, RecordFinished
from utils.two_phase_commit.fenced_log import NO_EPOCH, Epoch, FencedLog


@pytest.fixture
def log() -> FencedLog:
    return FencedLog()


def test_of_two_that_raise_the_same_epoch_one_has_it(log: FencedLog) -> None:
    assert log.raise_epoch(0, "a", "a1", above=0) == Epoch(1, "a", "a1")
    assert log.raise_epoch(0, "b", "b1", above=0) == Epoch(1, "a", "a1")
    assert log.raise_epoch(1, "b", "b1", above=0) == Epoch(2, "b", "b1")


def test_a_raise_that_comes_again_changes_nothing(log: FencedLog) -> None:
    """The answer to the first was lost, or the first came late: the incarnation tells whose the epoch is."""
    first = log.raise_epoch(0, "a", "a1", above=0)
    assert log.raise_epoch(0, "a", "a1", above=0) == first
    # The same node, started again: it does not take the old epoch for its own.
    assert log.raise_epoch(0, "a", "a2", above=0).incarnation == "a1"
    second = log.raise_epoch(1, "a", "a2", above=0)
    assert second == Epoch(2, "a", "a2")
    assert log.raise_epoch(0, "a", "a1", above=0) == second


def test_an_epoch_is_above_what_is_known_from_elsewhere(log: FencedLog) -> None:
    assert log.raise_epoch(0, "a", "a1", above=9).number == 10
    assert log.raise_epoch(10, "b", "b1", above=9).number == 11


def test_a_decision_that_is_delayed_past_the_raise_is_not_recorded(log: FencedLog) -> None:
    old = log.raise_epoch(0, "a", "a1", above=0)
    assert log.record(old, [RecordDecision(commit(1, 1))]) == (commit(1, 1),)
    new = log.raise_epoch(1, "b", "b1", above=0)
    assert log.record(old, [RecordDecision(commit(2, 1)), RecordFinished(commit(1).order_id)]) == new
    assert log.decisions.decision(commit(2).order_id) is None
    assert log.decisions.unfinished() == [commit(1, 1)]
    assert log.record(new, [RecordDecision(reject(2, 2))]) == (reject(2, 2),)


def test_the_first_decision_of_an_order_stays_across_epochs(log: FencedLog) -> None:
    old = log.raise_epoch(0, "a", "a1", above=0)
    log.record(old, [RecordDecision(commit(1, 1))])
    new = log.raise_epoch(1, "b", "b1", above=0)
    assert log.record(new, [RecordDecision(reject(1, 2))]) == (commit(1, 1),)


@pytest.mark.parametrize("wrong", [NO_EPOCH, Epoch(1, "a", "a2"), Epoch(1, "b", "a1"), Epoch(2, "a", "a1")])
def test_an_epoch_that_only_looks_alike_records_nothing(log: FencedLog, wrong: Epoch) -> None:
    log.raise_epoch(0, "a", "a1", above=0)
    assert log.record(wrong, [RecordDecision(commit(1, 1))]) == log.epoch
    assert log.decisions.remembered_count == 0


def test_pages_hold_every_decision_in_its_order(log: FencedLog) -> None:
    epoch = log.raise_epoch(0, "a", "a1", above=0)
    log.record(epoch, [RecordDecision(commit(number, 1)) for number in range(7)])
    pages = [log.decisions.page(after, 3) for after in (0, 3, 6, 7)]
    assert [decision for page in pages for decision in page] == [commit(number, 1) for number in range(7)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]


def test_a_log_that_takes_over_another_one_is_the_same(log: FencedLog) -> None:
    epoch = log.raise_epoch(0, "a", "a1", above=0)
    log.record(epoch, [RecordDecision(commit(number, 1)) for number in range(1, 9)])
    log.record(epoch, [RecordFinished(commit(number).order_id) for number in (1, 2, 3, 5)])
    log.record(epoch, [PublishFinished(9)])
    mine, theirs = DecisionLog(), log.decisions
    mine.record(RecordDecision(commit(99, 1)))
    unfinished = [decision.order_id for decision in theirs.unfinished()]
    mine.replace(theirs.page(0, 100), unfinished, theirs.finished_below, theirs.forgotten_count)
    assert mine.snapshot() == theirs.snapshot()
    assert (mine.finished_below, mine.forgotten_count) == (4, 3)
