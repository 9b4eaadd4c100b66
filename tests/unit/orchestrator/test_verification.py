import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from orchestrator.checkout import Checkout
from orchestrator.identity import Identities
from orchestrator.ports import PricedCheckout, Run, Service
from orchestrator.problems import ComponentUnavailable
from orchestrator.schemas import parse_checkout
from orchestrator.verification import COLLECT_S, SUGGESTIONS_S, Verdict, Verification, _Branch
from tests.unit.orchestrator.fakes import BOOK, INSTRUMENT, FakePrices, FakeQueue, FakeTrio, Script, body, rejected
from utils.clocks.story import Event, pack
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import PricedItem
from utils.rpc.errors import DeadlineExceeded, Internal, Unavailable

GONE = Unavailable("gone")
ORDER = PricedCheckout(
    order_id="0" * 32,
    request=parse_checkout(body()),
    items=(PricedItem("Book A", 1, 1000),),
    unknown_titles=(),
    shipping_cents=0,
    amount_cents=1000,
    customer_hash="c" * 32,
)


RUN = Run("0" * 32, "1" * 16, VectorClock(), 5.0)


@pytest.fixture
def closing() -> Iterator[list[Verification]]:
    opened: list[Verification] = []
    yield opened
    for verification in opened:
        verification.close()


@pytest.fixture
def verify(closing: list[Verification]) -> "type[_Verify]":
    _Verify.closing = closing
    return _Verify


class _Verify:
    """One order, verified by a trio."""

    closing: list[Verification]

    def __init__(self, trio: FakeTrio, timeout_s: float = 5.0) -> None:
        self._verification = Verification(trio, node_id="orchestrator", timeout_s=timeout_s, threads_max=8)
        self.closing.append(self._verification)

    def __call__(self) -> Verdict:
        return self._verification.verify(ORDER, timeout_s=10.0)


def test_an_order_passes_when_every_service_is_content(verify: type[_Verify]) -> None:
    trio = FakeTrio()
    verdict = verify(trio)()
    final = {"orchestrator": 1, "transaction_verification": 3, "fraud_detection": 2, "suggestions": 1}
    received = pack(Event("orchestrator", "received", VectorClock({"orchestrator": 1})))
    assert verdict == Verdict((), 7, VectorClock(final), INSTRUMENT, (BOOK,), (received,))
    assert trio.forgotten == [(VectorClock(final), set(Service))]
    assert trio.stops == []
    assert {run.run for run in trio.runs} == {trio.runs[0].run}
    assert trio.runs[0].clock == VectorClock({"orchestrator": 1})


def test_the_three_are_asked_at_the_same_time(verify: type[_Verify]) -> None:
    together = threading.Barrier(3, timeout=5)

    class Meeting(FakeTrio):
        def begin(self, service, order, run):  # type: ignore[no-untyped-def]
            together.wait()
            return super().begin(service, order, run)

    assert not verify(Meeting())().reasons


def test_the_first_failure_stops_all_and_every_service_s_reasons_are_told(verify: type[_Verify]) -> None:
    trio = FakeTrio(
        hanging_first=2,
        transaction_verification=Script(rejected(Service.TRANSACTION_VERIFICATION, "card_expired", "terms")),
        fraud_detection=Script(after_stop=rejected(Service.FRAUD_DETECTION, "fraud_domain", "card_expired")),
        suggestions=Script(after_stop=rejected(Service.SUGGESTIONS)),
    )
    verdict = verify(trio)()
    assert [reason.code for reason in verdict.reasons] == ["card_expired", "terms", "fraud_domain"]
    assert trio.stops == ["card_expired"]
    assert trio.forgotten[0][1] == set(Service)
    assert not any(call.cancelled() for call in trio.calls.values())


def test_services_that_do_not_stop_are_cut_off(verify: type[_Verify]) -> None:
    trio = FakeTrio(
        hanging_first=2,
        transaction_verification=Script(rejected(Service.TRANSACTION_VERIFICATION, "items_missing")),
        fraud_detection=Script(),
        suggestions=Script(),
    )
    verdict = verify(trio)()
    assert [reason.code for reason in verdict.reasons] == ["items_missing"]
    assert trio.calls[Service.FRAUD_DETECTION].cancelled()
    assert trio.calls[Service.SUGGESTIONS].cancelled()
    # A service that did not answer may have counted events that the final clock does not know: it is not asked.
    assert trio.forgotten[0][1] == {Service.TRANSACTION_VERIFICATION}


def test_a_call_that_has_not_begun_is_never_made(closing: list[Verification]) -> None:
    trio = FakeTrio(
        transaction_verification=Script(rejected(Service.TRANSACTION_VERIFICATION, "items_missing")),
        fraud_detection=Script(),
    )
    verification = Verification(trio, node_id="orchestrator", timeout_s=5.0, threads_max=2)
    closing.append(verification)
    # One of the two threads is taken, and the other is held by fraud detection's silence.
    busy = threading.Event()
    verification._pool.submit(busy.wait)
    try:
        verdict = verification.verify(ORDER, timeout_s=10.0)
    finally:
        busy.set()
    assert verdict.reasons
    assert Service.SUGGESTIONS not in trio.calls


def test_a_call_that_is_cancelled_while_its_thread_starts_is_never_made() -> None:
    trio = FakeTrio()
    pool = _StartingPool()
    branch = _Branch(Service.FRAUD_DETECTION, pool, trio, ORDER, RUN)
    branch.cancel()
    with pytest.raises(CancelledError):
        pool.work()
    assert trio.calls == {}


class _StartingPool(ThreadPoolExecutor):
    """Its thread has taken the work, and has not come to its first line yet."""

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **_options: Any) -> "Future[Any]":
        self.work = partial(fn, *arguments)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        return future


@pytest.mark.parametrize("service", [Service.TRANSACTION_VERIFICATION, Service.FRAUD_DETECTION])
@pytest.mark.parametrize("error", [GONE, DeadlineExceeded("late")], ids=["gone", "late"])
def test_a_dead_service_is_unavailable_and_no_rejection(
    verify: type[_Verify], service: Service, error: Exception
) -> None:
    hanging = {str(other): Script() for other in Service if other is not service}
    trio = FakeTrio(hanging_first=2, **{**hanging, str(service): Script(error)})
    with pytest.raises(ComponentUnavailable, match=str(service).replace("_", " ")):
        verify(trio)()
    assert trio.stops == ["unavailable"]
    assert all(trio.calls[other].cancelled() for other in Service if other is not service)


def test_a_service_that_never_answers_is_given_up(verify: type[_Verify]) -> None:
    trio = FakeTrio(fraud_detection=Script())
    with pytest.raises(ComponentUnavailable, match="fraud detection"):
        verify(trio, timeout_s=0.2)()
    assert trio.calls[Service.FRAUD_DETECTION].cancelled()


def test_a_run_that_was_stopped_without_a_reason_is_no_rejection(verify: type[_Verify]) -> None:
    trio = FakeTrio(
        transaction_verification=Script(rejected(Service.TRANSACTION_VERIFICATION)),
        fraud_detection=Script(rejected(Service.FRAUD_DETECTION)),
    )
    with pytest.raises(ComponentUnavailable):
        verify(trio)()


def test_the_one_who_has_the_reasons_may_come_last(verify: type[_Verify]) -> None:
    trio = FakeTrio(
        hanging_first=1,
        transaction_verification=Script(after_stop=rejected(Service.TRANSACTION_VERIFICATION, "card_expired")),
        fraud_detection=Script(rejected(Service.FRAUD_DETECTION)),
        suggestions=Script(rejected(Service.SUGGESTIONS)),
    )
    assert [reason.code for reason in verify(trio)().reasons] == ["card_expired"]


@pytest.mark.parametrize("script", [Script(GONE), Script(Internal("broken")), Script()], ids=["gone", "broken", "slow"])
def test_without_suggestions_the_order_goes_on(verify: type[_Verify], script: Script) -> None:
    trio = FakeTrio(suggestions=script)
    verdict = verify(trio)()
    assert (verdict.reasons, verdict.books, verdict.instrument) == ((), (), INSTRUMENT)
    assert trio.forgotten[0][1] == {Service.TRANSACTION_VERIFICATION, Service.FRAUD_DETECTION}


def test_a_service_s_defect_is_told_as_a_defect(verify: type[_Verify]) -> None:
    with pytest.raises(Internal):
        verify(FakeTrio(fraud_detection=Script(Internal("broken"))))()


def test_waiting_for_courtesies_is_short() -> None:
    assert COLLECT_S < 1
    assert SUGGESTIONS_S < 1


def test_orders_in_parallel_do_not_mix(closing: list[Verification]) -> None:
    trio = FakeTrio()
    verification = Verification(trio, node_id="orchestrator", timeout_s=5.0, threads_max=24)
    closing.append(verification)
    checkout = Checkout(identities=Identities("s" * 16), prices=FakePrices(), verifier=verification, queue=FakeQueue())
    with ThreadPoolExecutor(8) as clients:
        records = list(clients.map(lambda _: checkout.accept(checkout.begin(None), body()), range(40)))
    assert len({record.order_id for record in records}) == 40
    assert len({run.run for run in trio.runs}) == 40
