"""Counters of this process since its start, read by benchmarks through IntrospectionService."""

from collections import Counter

_counters: Counter[str] = Counter()


def count(name: str, amount: int = 1) -> None:
    """Adds to the counter `name`, for example "rpc.server./bookstore.v1.PaymentService/GetPayment"."""
    _counters[name] += amount


def counters() -> dict[str, int]:
    """All counters as they are now."""
    return dict(_counters)
