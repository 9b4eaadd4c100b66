"""The rules of claims.py, one by one."""

import pytest

from order_queue.claims import Claims, EpochSharedError, StaleEpochError


def begun(*held: str, executor_id: str = "order_executor_1", epoch: int = 3) -> tuple[Claims, int]:
    claims = Claims()
    return claims, claims.begin(executor_id, epoch, held)


def test_a_new_leader_of_the_queue_learns_the_claims_from_the_first_poll() -> None:
    assert set(Claims().held) == set()
    claims, _ = begun("a", "b")
    assert set(claims.held) == {"a", "b"}


def test_what_is_handed_out_is_claimed() -> None:
    claims, poll = begun("a")
    claims.hand_out(poll, ["b", "c"])
    assert set(claims.held) == {"a", "b", "c"}


def test_a_hand_out_whose_answer_was_lost_is_free_again_with_the_next_poll() -> None:
    claims, poll = begun("a")
    claims.hand_out(poll, ["b"])
    claims.begin("order_executor_1", 3, ["a"])
    assert set(claims.held) == {"a"}


def test_a_hand_out_that_arrived_stays_claimed() -> None:
    claims, poll = begun("a")
    claims.hand_out(poll, ["b"])
    claims.begin("order_executor_1", 3, ["b"])
    assert set(claims.held) == {"b"}


def test_only_the_latest_poll_counts() -> None:
    claims, first = begun()
    second = claims.begin("order_executor_1", 3, [])
    assert not claims.counts(first)
    assert claims.counts(second)
    with pytest.raises(AssertionError, match="latest"):
        claims.hand_out(first, ["a"])


def test_a_higher_epoch_takes_over_and_frees_what_it_does_not_name() -> None:
    claims, first = begun("a", "b")
    claims.begin("order_executor_2", 4, ["b"])
    assert not claims.counts(first)
    assert set(claims.held) == {"b"}
    assert (claims.epoch, claims.executor_id) == (4, "order_executor_2")


def test_a_lower_epoch_is_refused_and_changes_nothing() -> None:
    claims, poll = begun("a", epoch=4)
    with pytest.raises(StaleEpochError) as refused:
        claims.begin("order_executor_2", 3, ["b"])
    assert (refused.value.epoch, refused.value.highest_epoch) == (3, 4)
    assert claims.counts(poll)
    assert set(claims.held) == {"a"}


def test_two_executors_never_share_an_epoch() -> None:
    claims, poll = begun("a")
    with pytest.raises(EpochSharedError):
        claims.begin("order_executor_2", 3, [])
    assert claims.counts(poll)
    assert set(claims.held) == {"a"}


def test_lost_leadership_frees_everything_but_the_highest_epoch_stays_known() -> None:
    claims, poll = begun("a", epoch=4)
    claims.forget()
    assert not claims.counts(poll)
    assert set(claims.held) == set()
    with pytest.raises(StaleEpochError):
        claims.begin("order_executor_1", 3, [])
