"""Requests for the same order share one run of it within this process; across processes the queue's log decides."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from orchestrator.ports import OrderRecord
from orchestrator.problems import ComponentUnavailable, KeyReused


@dataclass(frozen=True)
class _Flight:
    fingerprint: bytes
    result: "Future[OrderRecord]" = field(default_factory=Future)


class SingleFlight:
    """Thread-safe. Remembers nothing once the first request has its result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    def run(
        self, order_id: str, fingerprint: bytes, accept: Callable[[], OrderRecord], *, timeout_s: float
    ) -> OrderRecord:
        """The result of `accept`, called here or by the request that is already at it; raises what that raises.

        Raises KeyReused when that request has another body, ComponentUnavailable when it takes longer than `timeout_s`.
        """
        with self._lock:
            flight = self._flights.get(order_id)
            first = flight is None
            if flight is None:
                flight = self._flights[order_id] = _Flight(fingerprint)
        if not first:
            return self._wait(flight, fingerprint, timeout_s)
        try:
            flight.result.set_result(accept())
        except BaseException as error:
            flight.result.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[order_id]
        return flight.result.result()

    def _wait(self, flight: _Flight, fingerprint: bytes, timeout_s: float) -> OrderRecord:
        if flight.fingerprint != fingerprint:
            raise KeyReused("This Idempotency-Key is in use for another order.")
        try:
            return flight.result.result(timeout_s)
        except FutureTimeoutError:
            raise ComponentUnavailable(
                "The first request with this Idempotency-Key has no answer yet. Please repeat it."
            ) from None
