"""The check that every answer of the end-to-end suite goes through can fail."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.shop_http import assert_each_happened_before_the_next, assert_every_event_is_counted
from tests.support.shiviz import LoggedEvent
from utils.clocks.vector_clock import VectorClock
from utils.verification.events import CAUSAL_ORDER, OWNER, Event

ALL = {"orchestrator": 1, "transaction_verification": 3, "fraud_detection": 2, "suggestions": 1}


def told(books: int, **clock: int) -> dict[str, Any]:
    return {"orderId": "a", "suggestedBooks": [{}] * books, "clock": {**ALL, **clock}}


@pytest.mark.parametrize("answer", [told(3), told(0), told(0, suggestions=0), told(3, order_queue=2)])
def test_a_whole_verification_passes(answer: dict[str, Any]) -> None:
    assert_every_event_is_counted(answer)


@pytest.mark.parametrize(
    "answer",
    [
        told(3, transaction_verification=2),
        told(3, fraud_detection=1),
        told(3, suggestions=0),
        told(0, suggestions=2),
        told(0, fraud_detection=0),
    ],
)
def test_a_missing_or_doubled_event_is_found(answer: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="has the clock"):
        assert_every_event_is_counted(answer)


def chain(events: Sequence[Event], *, deaf: Event | None = None) -> list[LoggedEvent]:
    """Each event after the one before it; only `deaf` has not heard of it."""
    clocks = {service: VectorClock() for service in OWNER.values()}
    before = VectorClock()
    logged = []
    for event in events:
        service = OWNER[event]
        heard = clocks[service] if event is deaf else clocks[service].merge(before)
        before = clocks[service] = heard.tick(service)
        logged.append(LoggedEvent(service, f"{event} (something)", before.entries))
    return logged


def test_a_whole_chain_passes_and_one_without_suggestions() -> None:
    assert_each_happened_before_the_next(chain(CAUSAL_ORDER))
    assert_each_happened_before_the_next(chain(CAUSAL_ORDER[:-1]))


@pytest.mark.parametrize("deaf", [Event.D, Event.C, Event.E, Event.F])
def test_an_event_that_did_not_wait_for_the_one_before_it_is_found(deaf: Event) -> None:
    with pytest.raises(AssertionError):
        assert_each_happened_before_the_next(chain(CAUSAL_ORDER, deaf=deaf))


@pytest.mark.parametrize("missing", CAUSAL_ORDER[:-1])
def test_an_event_that_is_not_exported_is_found(missing: Event) -> None:
    with pytest.raises(AssertionError):
        assert_each_happened_before_the_next(chain([event for event in CAUSAL_ORDER if event is not missing]))


def test_an_event_that_happened_twice_is_found() -> None:
    with pytest.raises(AssertionError, match="twice"):
        assert_each_happened_before_the_next(chain([*CAUSAL_ORDER[:2], *CAUSAL_ORDER[1:]]))
