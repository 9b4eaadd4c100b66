"""Clients that order one book after the other, and what they saw."""

import http.client
import itertools
import json
import statistics
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from bookstore.shop_client import order_body
from bookstore.system import HOST

TITLES = ("Harry Potter", "The Great Gatsby", "To Kill a Mockingbird", "1984", "Pride and Prejudice")
REQUEST_TIMEOUT_S = 60
ENDED = ("Order Approved", "Order Rejected")


@dataclass
class Phase:
    """What so many clients saw."""

    clients: int
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    # Of their verification alone, as the orchestrator saw it.
    verifications_ms: list[float] = field(default_factory=list)
    errors: int = 0
    # Orders that were given an id but no end yet.
    unfinished: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        latencies = sorted(self.latencies_ms)
        percentiles = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else [0.0] * 99
        return {
            "orders_per_s": round(len(latencies) / self.seconds, 1),
            "p50_ms": round(percentiles[49], 1),
            "p95_ms": round(percentiles[94], 1),
            "p99_ms": round(percentiles[98], 1),
            "verification_p50_ms": round(statistics.median(self.verifications_ms or [0.0]), 1),
            "errors": self.errors,
        }


def drive(port: int, clients: int, seconds: float, host: str = HOST) -> Phase:
    """`clients` closed loops, each on a connection of its own, for so many seconds."""
    phase = Phase(clients)
    ends_at = time.monotonic() + seconds
    numbers = itertools.count()
    guard = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT_S)
        while time.monotonic() < ends_at:
            body = json.dumps(order_body((TITLES[next(numbers) % len(TITLES)], 1)))
            headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
            started_at = time.monotonic()
            try:
                connection.request("POST", "/checkout", body, headers)
                response = connection.getresponse()
                answer: dict[str, Any] = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                connection.close()
                answer = {}
            elapsed_ms = (time.monotonic() - started_at) * 1_000
            with guard:
                if answer.get("status") in ENDED:
                    phase.latencies_ms.append(elapsed_ms)
                else:
                    phase.errors += 1
                    if order_id := answer.get("error", {}).get("orderId"):
                        phase.unfinished.append(order_id)
        connection.close()

    started_at = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    phase.seconds = time.monotonic() - started_at
    return phase
