"""The first failure stops everything after it, frees whoever waits, and hides no reason that a service knows."""

import asyncio

import pytest

from tests.integration.trio.trio import CARD, History, Trio, running_trio
from utils.pb import order_pb2, vector_clock_pb2, verification_pb2
from utils.rpc.errors import Internal, InvalidArgument
from utils.verification.events import (
    FRAUD_DETECTION as FD,
    SERVICES,
    SUGGESTIONS as SG,
    TRANSACTION_VERIFICATION as TV,
    Event,
)
from utils.verification.runs import Limits

EXPIRED = order_pb2.PaymentCard(number=CARD.number, expiration_date="01/20", cvv="12")
SUSPICIOUS = order_pb2.Customer(name="Mari", contact="mari@suspicious.ru")


def codes(outcome: verification_pb2.RunOutcome) -> list[str]:
    return [reason.code for reason in outcome.reasons]


async def test_a_failed_event_stops_all_three_and_every_reason_is_told(trio: Trio, history: History) -> None:
    start = trio.start_message(deadline_s=30)
    verified, detected, suggested = await asyncio.wait_for(
        asyncio.gather(
            trio.verify(start, items=[], card=EXPIRED, terms_accepted=False),
            trio.detect(start, customer=SUSPICIOUS),
            trio.suggest(start),
        ),
        3,
    )
    assert codes(verified.outcome) == ["items_missing", "terms_not_accepted", "card_expired", "card_cvv_invalid"]
    assert codes(detected.outcome) == ["fraud_suspicious_contact"]
    assert codes(suggested.outcome) == []
    assert all(response.outcome.stopped for response in (verified, detected, suggested))
    assert not verified.HasField("instrument")
    assert history.events == []


async def test_what_happened_before_the_failure_has_happened(trio: Trio, history: History) -> None:
    start = trio.start_message(deadline_s=30)
    verified, detected, suggested = await asyncio.wait_for(
        asyncio.gather(trio.verify(start, card=EXPIRED), trio.detect(start), trio.suggest(start)), 3
    )
    assert history.events == [Event.A, Event.B, Event.D]
    assert codes(verified.outcome) == ["card_expired", "card_cvv_invalid"]
    assert list(verified.outcome.events) == [verification_pb2.EVENT_A, verification_pb2.EVENT_B]
    assert list(detected.outcome.events) == [verification_pb2.EVENT_D]
    assert suggested.outcome.stopped


async def test_fraud_stops_before_the_card_is_an_event(trio: Trio, history: History) -> None:
    start = trio.start_message(deadline_s=30)
    verified, detected, suggested = await asyncio.wait_for(
        asyncio.gather(trio.verify(start), trio.detect(start, customer=SUSPICIOUS), trio.suggest(start)), 3
    )
    assert history.events == [Event.A, Event.B]
    assert "fraud" in detected.outcome.reasons[0].message
    assert detected.risk_score == 100
    assert codes(verified.outcome) == []
    assert verified.outcome.stopped
    assert suggested.outcome.stopped


async def test_the_orchestrators_stop_cancels_work_in_progress(trio: Trio, history: History) -> None:
    working, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    trio.suggestions.work = work
    start = trio.start_message(deadline_s=30)
    calls = asyncio.create_task(trio.all_three(start))
    await asyncio.wait_for(working.wait(), 3)
    request = verification_pb2.StopRequest(run_id=start.run_id, cause="customer_left")
    await trio.peer(SG).Stop(request, timeout=5)
    await trio.peer(SG).Stop(request, timeout=5)
    await asyncio.wait_for(cancelled.wait(), 3)
    suggested = (await asyncio.wait_for(calls, 3))[2]
    assert suggested.outcome.stopped
    assert len(history.events) == 5


async def test_a_stop_before_the_order_stops_it(trio: Trio, history: History) -> None:
    start = trio.start_message(deadline_s=30)
    await trio.peer(FD).Stop(verification_pb2.StopRequest(run_id=start.run_id, cause="name_missing"), timeout=5)
    detected = await asyncio.wait_for(trio.detect(start, customer=SUSPICIOUS), 3)
    assert detected.outcome.stopped
    assert codes(detected.outcome) == ["fraud_suspicious_contact"]
    assert history.events == []


async def test_work_that_breaks_is_no_rejection_and_frees_the_others(trio: Trio) -> None:
    async def work() -> None:
        raise RuntimeError("broken")

    trio.suggestions.work = work
    start = trio.start_message(deadline_s=30)
    verified, detected, suggested = await asyncio.wait_for(trio.all_three(start), 3)
    assert isinstance(suggested, Internal)
    assert not verified.outcome.reasons
    assert not detected.outcome.reasons


async def test_a_cancelled_call_ends_its_run(trio: Trio, history: History) -> None:
    start = trio.start_message(deadline_s=30)
    detecting = asyncio.create_task(trio.detect(start))
    run = await asyncio.wait_for(trio.begun(FD, start), 5)
    detecting.cancel()
    await asyncio.wait_for(run.stopped.wait(), 5)
    heard = verification_pb2.Notification(
        run_id=start.run_id,
        sender=TV,
        events=[verification_pb2.EVENT_A, verification_pb2.EVENT_B],
        clock=vector_clock_pb2.VectorClock(entries={TV: 2}),
    )
    await trio.notify(FD, heard)
    assert run.state.knows(Event.B)
    assert not run.active
    assert history.events == []


@pytest.mark.parametrize("card", [CARD, EXPIRED])
async def test_a_run_that_is_over_is_no_longer_told_to_a_dead_peer(trio: Trio, card: order_pb2.PaymentCard) -> None:
    await trio.servers[SG].stop(0)
    start = trio.start_message(deadline_s=30)
    await asyncio.gather(trio.verify(start, card=card), trio.detect(start))
    couriers = trio.verifications[TV]._deliveries._couriers
    assert not couriers[trio.addresses[SG]].idle, "without Forget it tries until the deadline"
    final = vector_clock_pb2.VectorClock(entries={TV: 3, FD: 2})
    await trio.peer(TV).Forget(verification_pb2.ForgetRequest(run_id=start.run_id, final_clock=final), timeout=5)
    async with asyncio.timeout(3):
        while not couriers[trio.addresses[SG]].idle:  # noqa: ASYNC110 - giving up tells nobody
            await asyncio.sleep(0.01)


async def test_runs_of_a_dead_orchestrator_expire() -> None:
    limits = Limits(linger_s=0.05, over_age_s_max=0.05, early_age_s_max=0.1, sweep_interval_s=0.02)
    async with running_trio(limits) as trio:
        start = trio.start_message(deadline_s=0.2)
        await trio.all_three(start)
        assert all(len(trio.verifications[service].runs) == 1 for service in SERVICES)
        async with asyncio.timeout(3):
            while any(len(trio.verifications[service].runs) for service in SERVICES):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("cause", ["", "Drop Table", "x" * 65, "line\nbreak"])
async def test_a_cause_is_a_code(trio: Trio, cause: str) -> None:
    with pytest.raises(InvalidArgument):
        await trio.peer(FD).Stop(
            verification_pb2.StopRequest(run_id=trio.start_message().run_id, cause=cause), timeout=5
        )
