"""A gap is a time in which orders were pending and none ended, and it belongs to the fault that made it."""

import pytest

from tests.chaos.gaps import gaps, longest_by_phase
from tests.chaos.history import APPROVED, PENDING, Disturbance, Exchange, History, Route


def kept(key: str, at_s: float) -> Exchange:
    return Exchange(key, Route.CHECKOUT_V2, at_s, at_s, http_status=200, order_id=key, order_status=PENDING)


def ended(key: str, at_s: float) -> Exchange:
    return Exchange(key, Route.ORDER, at_s, at_s, http_status=200, order_id=key, order_status=APPROVED)


def longest_s(*exchanges: Exchange) -> float:
    return max((gap.length_s for gap in gaps(History({}, exchanges=list(exchanges)))), default=0.0)


def test_time_without_pending_orders_is_no_gap() -> None:
    assert longest_s(kept("a", 1), ended("a", 2), kept("b", 50), ended("b", 51.5)) == 1.5


def test_gap_goes_from_end_to_end_while_another_order_waits() -> None:
    assert longest_s(kept("a", 1), kept("b", 1), ended("a", 2), ended("b", 9)) == 7


def test_end_of_any_order_ends_a_gap() -> None:
    assert longest_s(kept("a", 0), kept("b", 3), ended("b", 4), kept("c", 5), ended("c", 8), ended("a", 10)) == 4


def test_end_that_is_the_first_answer_ends_a_gap_too() -> None:
    assert longest_s(kept("a", 0), ended("b", 4), ended("a", 6)) == 4


def test_order_that_never_ends_makes_a_gap_up_to_the_last_answer() -> None:
    assert longest_s(kept("a", 1), kept("b", 1), ended("b", 2), kept("c", 30)) == 28


def test_retry_makes_no_order_pending_again() -> None:
    assert longest_s(kept("a", 1), ended("a", 2), kept("a", 3), kept("b", 60), ended("b", 61)) == 1


@pytest.mark.parametrize(("kept_at_s", "phase"), [(9, "first"), (21, "second"), (2, "no fault yet")])
def test_gap_belongs_to_the_phase_in_which_most_of_it_lies(kept_at_s: float, phase: str) -> None:
    history = History(
        {},
        exchanges=[kept("a", kept_at_s), ended("a", kept_at_s + 3)],
        disturbances=[
            Disturbance("first", one_node=True, from_s=10, until_s=11),
            Disturbance("second", one_node=False, from_s=20, until_s=30),
        ],
    )
    assert list(longest_by_phase(history)) == [phase]
