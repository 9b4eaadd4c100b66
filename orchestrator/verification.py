"""Has one order verified: three concurrent calls, each in a thread of the pool, that end early at the first failure."""

import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from orchestrator.ports import Finding, Outcome, PricedCheckout, Run, Service, Trio
from orchestrator.problems import ComponentUnavailable
from utils.clocks.story import Event, Story, pack
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import REASONS_MAX, Book, PaymentInstrument, Reason
from utils.observe.logging import get_logger
from utils.rpc.errors import DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable

log = get_logger()

# After the first failure the others are told to stop, and have this long to hand over their own reasons.
COLLECT_S: Final = 0.3
# Suggestions are a courtesy: once the order is verified they have this long.
SUGGESTIONS_S: Final = 0.5
# Without these there is no order; without suggestions there is.
_NEEDED: Final = (Service.TRANSACTION_VERIFICATION, Service.FRAUD_DETECTION)


@dataclass(frozen=True)
class Verdict:
    """Without reasons, events A to E have happened (and F, unless suggestions were away)."""

    reasons: tuple[Reason, ...]
    risk_score: int
    clock: VectorClock
    instrument: PaymentInstrument | None
    books: tuple[Book, ...]
    # From the request to what the verdict rests on.
    story: Story = ()


class _Branch:
    """The call to one service. Its worker thread makes it; the request's thread may cancel it at any time."""

    def __init__(self, service: Service, pool: ThreadPoolExecutor, trio: Trio, order: PricedCheckout, run: Run) -> None:
        self.service = service
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._call: Future[Finding] | None = None
        self.future = pool.submit(self._work, trio, order, run)

    def cancel(self) -> None:
        """Ends the branch: a call that has not begun is never made, one that runs is cancelled at the service."""
        with self._lock:
            self._cancelled.set()
            call = self._call
        self.future.cancel()
        if call is not None:
            call.cancel()

    def _work(self, trio: Trio, order: PricedCheckout, run: Run) -> Finding:
        with self._lock:
            if self._cancelled.is_set():
                raise CancelledError
            self._call = trio.begin(self.service, order, run)
        return self._call.result()


class _Collected:
    """What has come from the three so far."""

    def __init__(self) -> None:
        self.findings: dict[Service, Finding] = {}
        self.failures: dict[Service, BaseException] = {}
        self.first_failure: str | None = None

    def take(self, branch: _Branch) -> None:
        error = branch.future.exception() if not branch.future.cancelled() else CancelledError()
        if error is not None:
            self.failures[branch.service] = error
            cause = "unavailable" if branch.service in _NEEDED else None
        else:
            finding = self.findings[branch.service] = branch.future.result()
            reasons = finding.outcome.reasons
            cause = reasons[0].code if reasons else "stopped" if finding.outcome.stopped else None
        self.first_failure = self.first_failure or cause

    @property
    def verified(self) -> bool:
        """Whether everything has come that an order needs."""
        return self.first_failure is None and all(service in self.findings for service in _NEEDED)

    def reasons(self) -> tuple[Reason, ...]:
        """Of all services, each once, in the order of the events."""
        found = (self.findings[service].outcome.reasons for service in Service if service in self.findings)
        return tuple(dict.fromkeys(reason for reasons in found for reason in reasons))[:REASONS_MAX]

    def story(self, start: Event) -> Story:
        """What has happened, as far as it was told; each event after all that it knows of."""
        events = [event for finding in self.findings.values() for event in finding.outcome.events]
        events.sort(key=lambda event: sum(event.clock.entries.values()))
        return tuple(pack(event) for event in (start, *events))

    def clock(self, start: VectorClock) -> VectorClock:
        for finding in self.findings.values():
            start = start.merge(finding.outcome.clock)
        return start


class Verification:
    """Thread-safe. `threads_max` bounds the calls in progress, three for each order."""

    def __init__(self, trio: Trio, *, node_id: str, timeout_s: float, threads_max: int) -> None:
        self._trio = trio
        self._node_id = node_id
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(threads_max, thread_name_prefix="verification")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def verify(self, order: PricedCheckout, *, timeout_s: float) -> Verdict:
        """Raises ComponentUnavailable when the order could not be verified: that is no rejection."""
        began_at = time.monotonic()
        run = Run(
            order_id=order.order_id,
            run=secrets.token_hex(8),
            clock=VectorClock().tick(self._node_id),
            timeout_s=min(timeout_s, self._timeout_s),
        )
        if run.timeout_s <= 0:
            raise ComponentUnavailable("No time was left to verify the order; nothing was ordered. Please try again.")
        branches = [_Branch(service, self._pool, self._trio, order, run) for service in Service]
        log.info("work handed to threads", order_id=order.order_id, run=run.run, services=list(Service))
        collected = self._collect(branches, run)
        duration_ms = round((time.monotonic() - began_at) * 1_000, 1)
        log.info("verification ended", order_id=order.order_id, run=run.run, duration_ms=duration_ms)
        self._trio.forget(run, final_clock := collected.clock(run.clock), collected.findings.keys())
        story = collected.story(Event(self._node_id, "received", run.clock))
        return _verdict(order.order_id, collected, final_clock, story)

    def _collect(self, branches: Iterable[_Branch], run: Run) -> _Collected:
        collected = _Collected()
        running = {branch.future: branch for branch in branches}
        # The services answer within the run's time; this is for a thread that was never free.
        ends_at = time.monotonic() + run.timeout_s + COLLECT_S
        while running:
            done, _ = wait(running, max(0.0, ends_at - time.monotonic()), FIRST_COMPLETED)
            had_failed, was_verified = collected.first_failure, collected.verified
            for future in done:
                collected.take(running.pop(future))
            if not done:
                for branch in running.values():
                    branch.cancel()
                    collected.failures[branch.service] = DeadlineExceeded(f"{branch.service} took too long")
                break
            if collected.first_failure is not None and had_failed is None:
                # Those that run may have reasons of their own: they are stopped first, and cut off if they do not end.
                self._trio.stop(run, collected.first_failure)
                ends_at = min(ends_at, time.monotonic() + COLLECT_S)
            elif collected.verified and not was_verified:
                ends_at = min(ends_at, time.monotonic() + SUGGESTIONS_S)
        return collected


def _verdict(order_id: str, collected: _Collected, final_clock: VectorClock, story: Story) -> Verdict:
    for service, error in collected.failures.items():
        log.warning("a service gave no answer", order_id=order_id, peer=service, error=_told(error))
    reasons = collected.reasons()
    if not reasons and not collected.verified:
        _raise_defect(collected.failures)
        missing = ", ".join(service.replace("_", " ") for service in _NEEDED if service not in collected.findings)
        raise ComponentUnavailable(
            f"The order could not be verified ({missing or 'verification'} is not available); "
            "nothing was ordered. Please try again."
        )
    nothing = Finding(Outcome(final_clock))
    transaction, fraud, suggestions = (collected.findings.get(service, nothing) for service in Service)
    return Verdict(
        reasons=reasons,
        risk_score=fraud.risk_score,
        clock=final_clock,
        instrument=transaction.instrument,
        books=suggestions.books,
        story=story,
    )


def _raise_defect(failures: Mapping[Service, BaseException]) -> None:
    """A service that calls our request wrong, or a bug here: nothing that trying again would mend."""
    for service in _NEEDED:
        error = failures.get(service)
        if error and not isinstance(error, Unavailable | DeadlineExceeded | ResourceExhausted | CancelledError):
            raise error


def _told(error: BaseException) -> str:
    return error.message if isinstance(error, ServiceError) else type(error).__name__
