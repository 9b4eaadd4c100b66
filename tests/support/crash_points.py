"""The labelled places in the life of an order, and of its refund, where somebody may die."""

from typing import NamedTuple


class Point(NamedTuple):
    """A place in one call: before it is carried out or after that, and who dies there."""

    service: str
    call: str
    moment: str
    victim: str

    def __str__(self) -> str:
        return "-".join(self)


ORDER_CALLS = (
    ("queue", "dequeue"),
    ("database", "prepare"),
    ("payment", "prepare"),
    ("log", "record"),
    ("database", "decide"),
    ("payment", "decide"),
    ("queue", "complete"),
)
REFUND_CALLS = (
    ("queue", "poll_refunds"),
    ("payment", "compensate"),
    ("database", "compensate"),
    ("queue", "complete_refund"),
)


def _points(calls: tuple[tuple[str, str], ...]) -> list[Point]:
    return [
        Point(service, call, moment, victim)
        for service, call in calls
        for moment in ("before", "after")
        for victim in ("executor", "service")
    ]


ORDER_POINTS = _points(ORDER_CALLS)
POINTS = _points(ORDER_CALLS + REFUND_CALLS)
