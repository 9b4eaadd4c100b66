"""The check that every answer of the end-to-end suite goes through can fail."""

from typing import Any

import pytest

from tests.e2e.shop_http import assert_every_event_is_counted

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
