"""The replicated decisions: the first one wins for ever, and what a participant in doubt is told of them."""

import msgspec
import pytest

from tests.unit.order_executor.world import order_id
from utils.domain.order import Reason
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import (
    Command,
    DecisionLog,
    PublishFinished,
    RecordDecision,
    RecordFinished,
    encode,
    resolve,
)
from utils.two_phase_commit.messages import Attempt, ResolutionKind

NO_STOCK = Reason("out_of_stock", "Sold out.", "/items/0")


def commit(number: int, epoch: int = 3, attempt: int = 1) -> OrderDecision:
    return OrderDecision(Attempt(order_id(number), epoch, attempt), number, commit=True)


def reject(number: int, epoch: int = 3, attempt: int = 1) -> OrderDecision:
    return OrderDecision(Attempt(order_id(number), epoch, attempt), number, commit=False, reasons=(NO_STOCK,))


def apply(log: DecisionLog, *commands: Command) -> list[OrderDecision | None]:
    return log.apply(1, encode(commands))


@pytest.fixture
def log() -> DecisionLog:
    return DecisionLog()


def test_the_first_decision_wins_and_answers_later_proposals(log: DecisionLog) -> None:
    assert apply(log, RecordDecision(commit(1))) == [commit(1)]
    assert apply(log, RecordDecision(reject(1, 4))) == [commit(1)]
    assert apply(log, RecordDecision(commit(1, 4, 2))) == [commit(1)]
    assert apply(log, RecordDecision(reject(2)), RecordDecision(commit(2))) == [reject(2), reject(2)]
    assert log.decision(order_id(1)) == commit(1)
    assert log.decision(order_id(3)) is None


def test_a_decision_outlives_its_finish(log: DecisionLog) -> None:
    apply(log, RecordDecision(commit(1)), RecordDecision(reject(2)), RecordFinished(order_id(1)))
    assert log.unfinished() == [reject(2)]
    assert log.finished_count == 1
    assert apply(log, RecordDecision(reject(1, 9))) == [commit(1)]
    assert log.unfinished() == [reject(2)]


def test_finishing_again_or_without_a_decision_changes_nothing(log: DecisionLog) -> None:
    apply(log, RecordDecision(commit(1)))
    before = log.snapshot()
    assert apply(log, RecordFinished(order_id(9))) == [None]
    assert log.snapshot() == before
    finished = [RecordFinished(order_id(1))]
    assert apply(log, *finished) == [commit(1)]
    after = log.snapshot()
    assert apply(log, *finished) == [commit(1)]
    assert log.snapshot() == after != before


def test_what_is_finished_below_a_position_is_forgotten_and_stays_finished(log: DecisionLog) -> None:
    # Order n is at position n.
    for number in (1, 2, 3):
        apply(log, RecordDecision(commit(number)))
    apply(log, RecordFinished(order_id(1)), RecordFinished(order_id(3)))
    assert log.all_finished_below(9) == 2
    assert apply(log, PublishFinished(9)) == [None]
    # Order 2 is not finished, and holds back what comes after it.
    assert log.finished_below == 2
    assert [log.decision(order_id(number)) for number in (1, 2, 3)] == [None, commit(2), commit(3)]
    assert apply(log, RecordDecision(reject(1)), RecordFinished(order_id(1))) == [None, None]
    apply(log, RecordFinished(order_id(2)), PublishFinished(9))
    assert (log.finished_below, log.finished_count, log.unfinished()) == (9, 3, [])
    assert apply(log, PublishFinished(1), RecordDecision(commit(9))) == [None, commit(9)]
    assert log.finished_below == 9


def test_a_snapshot_of_before_anything_was_forgotten_is_read(log: DecisionLog) -> None:
    apply(log, RecordDecision(commit(1)), RecordFinished(order_id(1)))
    older = msgspec.msgpack.decode(log.snapshot()[1:])
    del older["finished_below"], older["forgotten"]
    other = DecisionLog()
    other.restore(msgspec.msgpack.encode(older))
    assert other.snapshot() == log.snapshot()
    apply(other, PublishFinished(2))
    assert other.decision(order_id(1)) is None


def test_a_snapshot_is_the_whole_state(log: DecisionLog) -> None:
    apply(log, *(RecordDecision(commit(number) if number % 2 else reject(number)) for number in range(20)))
    apply(log, *(RecordFinished(order_id(number)) for number in range(0, 20, 3)))
    other = DecisionLog()
    apply(other, RecordDecision(commit(99)))
    other.restore(log.snapshot())
    assert other.snapshot() == log.snapshot()
    assert other.unfinished() == log.unfinished()
    assert other.decision(order_id(99)) is None
    assert apply(other, RecordDecision(reject(1))) == [commit(1)]


EPOCH = 5


@pytest.mark.parametrize("was_given_up", [False, True])
@pytest.mark.parametrize(
    ("decision", "asked", "answer"),
    [
        # Epochs below ours: the log knows it all.
        (None, (4, 1), ResolutionKind.ABORTED),
        (commit(1, 4, 2), (4, 2), ResolutionKind.COMMITTED),
        (commit(1, 4, 2), (4, 1), ResolutionKind.ABORTED),
        (commit(1, 4, 2), (3, 2), ResolutionKind.ABORTED),
        (reject(1, 4, 2), (4, 2), ResolutionKind.ABORTED),
        (reject(1, 4, 2), (4, 1), ResolutionKind.ABORTED),
        # Our own: what is recorded is said, whatever is remembered.
        (commit(1, 5, 2), (5, 2), ResolutionKind.COMMITTED),
        (commit(1, 5, 2), (5, 1), ResolutionKind.ABORTED),
        (reject(1, 5, 2), (5, 2), ResolutionKind.ABORTED),
        # Later ones: nothing.
        (None, (6, 1), ResolutionKind.UNDECIDED),
        (commit(1, 4, 1), (6, 1), ResolutionKind.UNDECIDED),
    ],
)
def test_a_participant_in_doubt_is_told_what_can_never_become_untrue(
    log: DecisionLog,
    decision: OrderDecision | None,
    asked: tuple[int, int],
    answer: ResolutionKind,
    was_given_up: bool,
) -> None:
    if decision is not None:
        apply(log, RecordDecision(decision))
    attempt = Attempt(order_id(1), *asked)
    if was_given_up and asked[0] != EPOCH:
        return  # only attempts of its own epoch can a leader have given up
    assert resolve(attempt, epoch=EPOCH, log=log, was_given_up=was_given_up).kind is answer


def test_an_attempt_of_our_own_is_undecided_until_it_is_given_up(log: DecisionLog) -> None:
    attempt = Attempt(order_id(1), EPOCH, 1)
    assert resolve(attempt, epoch=EPOCH, log=log, was_given_up=False).kind is ResolutionKind.UNDECIDED
    assert resolve(attempt, epoch=EPOCH, log=log, was_given_up=True).kind is ResolutionKind.ABORTED
