"""A -> B -> D -> C -> E -> F by messages between the services alone, whatever becomes of the messages."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from tests.integration.trio.trio import Forward, History, Trio, running_trio
from utils.clocks.vector_clock import VectorClock
from utils.pb import vector_clock_pb2, verification_pb2
from utils.rpc.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unavailable
from utils.verification.events import (
    CAUSAL_ORDER,
    FRAUD_DETECTION as FD,
    SERVICES,
    SUGGESTIONS as SG,
    TRANSACTION_VERIFICATION as TV,
    Event,
)
from utils.verification.runs import Limits
from utils.verification.wire import NOTIFICATIONS_MAX

FINAL = {"orchestrator": 1, TV: 3, FD: 2, SG: 1}


def assert_causal(history: History) -> None:
    assert tuple(history.events) == CAUSAL_ORDER
    for earlier, later in pairwise(history.clocks):
        assert earlier.happened_before(later)


def assert_passed(responses: list[Any]) -> None:
    for response in responses:
        assert not isinstance(response, BaseException), response
        assert not response.outcome.stopped
        assert not response.outcome.reasons


async def forget(trio: Trio, start: verification_pb2.RunStart, clock: dict[str, int]) -> list[Any]:
    request = verification_pb2.ForgetRequest(
        run_id=start.run_id, final_clock=vector_clock_pb2.VectorClock(entries=clock)
    )
    return [await trio.peer(service).Forget(request, timeout=5) for service in SERVICES]


async def test_six_events_happen_in_causal_order(trio: Trio, history: History) -> None:
    start = trio.start_message()
    responses = await trio.all_three(start)
    assert_passed(responses)
    assert_causal(history)
    assert responses[0].instrument.brand == "visa"
    assert responses[0].instrument.last_four == "1111"
    final = VectorClock()
    for response in responses:
        final = final.merge(VectorClock(response.outcome.clock.entries))
    assert final.entries == FINAL
    answers = await forget(trio, start, final.entries)
    assert all(answer.within_final for answer in answers)
    # Only the ids of what is over are left.
    assert all(len(trio.verifications[service].runs) == 1 for service in SERVICES)


async def test_the_services_tell_each_other_of_every_event_without_the_orchestrator(trio: Trio) -> None:
    start = trio.start_message()
    assert_passed(await trio.all_three(start))
    await trio.all_have_heard(start, FINAL)


async def test_many_runs_at_once_do_not_mix(trio: Trio, history: History) -> None:
    starts = [trio.start_message() for _ in range(30)]
    for responses in await asyncio.gather(*(trio.all_three(start) for start in starts)):
        assert_passed(responses)
        assert responses[2].outcome.clock.entries == FINAL
    assert Counter(history.events) == dict.fromkeys(Event, 30)


@pytest.mark.parametrize("first", ["verify", "detect", "suggest"])
async def test_the_order_may_reach_the_services_in_any_order(trio: Trio, history: History, first: str) -> None:
    start = trio.start_message()
    calls: dict[str, Callable[[Any], Coroutine[Any, Any, Any]]] = {
        "verify": trio.verify, "detect": trio.detect, "suggest": trio.suggest,
    }  # fmt: skip
    early = asyncio.create_task(calls.pop(first)(start))
    await asyncio.wait_for(trio.begun({"verify": TV, "detect": FD, "suggest": SG}[first], start), 5)
    if first == "verify":
        await history.reaches(Event.B)
    assert not early.done()
    assert_passed(await asyncio.gather(early, *(call(start) for call in calls.values())))
    assert_causal(history)


async def test_a_notification_before_the_order_waits_for_it(trio: Trio, history: History) -> None:
    start = trio.start_message()
    notification = verification_pb2.Notification(
        run_id=start.run_id,
        sender=TV,
        events=[verification_pb2.EVENT_A, verification_pb2.EVENT_B],
        clock=vector_clock_pb2.VectorClock(entries={TV: 2}),
    )
    await trio.notify(FD, notification)
    detecting = asyncio.create_task(trio.detect(start))
    await history.reaches(Event.D)
    assert history.events == [Event.D]
    detecting.cancel()


async def test_lost_doubled_and_overtaken_notifications_change_nothing(trio: Trio, history: History) -> None:
    """Before each service: the first is lost, the others arrive twice, and every earlier one comes again afterwards."""
    spoiled: Counter[str] = Counter()

    def spoiler(service: str) -> Callable[[verification_pb2.Notification, Forward], Coroutine[Any, Any, None]]:
        seen: list[verification_pb2.Notification] = []

        async def spoil(notification: verification_pb2.Notification, forward: Forward) -> None:
            seen.append(notification)
            if len(seen) == 1:
                spoiled["lost"] += 1
                raise Unavailable("lost")
            for again in (notification, notification, *seen):
                spoiled["again"] += 1
                await forward(again)

        return spoil

    peers = {service: await trio.relay_to(service, spoiler(service)) for service in SERVICES}
    assert_passed(await trio.all_three(trio.start_message(peers=peers)))
    assert_causal(history)
    assert spoiled["lost"] == 3
    assert spoiled["again"] > 6


async def test_late_notifications_change_nothing(trio: Trio, history: History) -> None:
    kept: list[tuple[verification_pb2.Notification, Forward]] = []

    async def keep(notification: verification_pb2.Notification, forward: Forward) -> None:
        await forward(notification)
        kept.append((notification, forward))

    start = trio.start_message(peers={SG: await trio.relay_to(SG, keep)})
    assert_passed(await trio.all_three(start))
    await forget(trio, start, FINAL)
    assert kept
    for notification, forward in kept:
        await forward(notification)
    assert len(history.events) == 6
    assert len(trio.verifications[SG].runs) == 1


async def test_a_prerequisite_that_does_not_come_is_unavailable_and_no_rejection(trio: Trio, history: History) -> None:
    async def lose(notification: verification_pb2.Notification, forward: Forward) -> None:
        raise Unavailable("lost")

    loop = asyncio.get_running_loop()
    start = trio.start_message(deadline_s=0.4, peers={FD: await trio.relay_to(FD, lose)})
    begun_at = loop.time()
    verified, detected, suggested = await trio.all_three(start)
    assert 0.35 < loop.time() - begun_at < 2
    assert history.events == [Event.A, Event.B]
    assert [str(outcome) for outcome in (verified, detected, suggested)] == [
        "event C waits for D, which did not happen by the deadline",
        "event D waits for B, which did not happen by the deadline",
        "event F waits for E, which did not happen by the deadline",
    ]
    assert {type(outcome) for outcome in (verified, detected, suggested)} == {Unavailable}


async def test_a_dead_peer_is_unavailable_within_the_deadline(trio: Trio) -> None:
    await trio.servers[FD].stop(0)
    verifying = trio.verify(trio.start_message(deadline_s=0.3))
    with pytest.raises(Unavailable, match="event C waits for D"):
        await asyncio.wait_for(verifying, 2)


async def test_work_that_takes_too_long_is_unavailable_and_ends(trio: Trio) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    trio.suggestions.work = work
    verified, detected, suggested = await trio.all_three(trio.start_message(deadline_s=0.3))
    assert_passed([verified, detected])
    assert isinstance(suggested, Unavailable)
    assert suggested.message == "event F was not done by the deadline"
    assert ended.is_set()


async def test_dead_suggestions_do_not_hold_up_the_others(trio: Trio) -> None:
    await trio.servers[SG].stop(0)
    start = trio.start_message()
    verified, detected = await asyncio.wait_for(asyncio.gather(trio.verify(start), trio.detect(start)), 2)
    assert_passed([verified, detected])


async def test_forgetting_with_too_small_a_clock_is_an_error_on_both_sides(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr("utils.verification.servicer.log", log)
    start = trio.start_message()
    assert_passed(await trio.all_three(start))
    await trio.all_have_heard(start, FINAL)
    for answer in await forget(trio, start, {**FINAL, FD: 1}):
        assert not answer.within_final
        assert answer.clock.entries[FD] == 2
    assert [(call.method_name, call.args) for call in log.calls] == [
        ("error", ("the clock exceeds the final clock",))
    ] * 3
    # The same question, the same answer; and a run that nobody knows is within any clock.
    assert not (await forget(trio, start, {**FINAL, FD: 1}))[0].within_final
    unknown = (await forget(trio, trio.start_message(), {}))[0]
    assert unknown.within_final
    assert not unknown.clock.entries


async def test_a_run_begins_once_and_not_after_it_is_over(trio: Trio) -> None:
    start = trio.start_message()
    assert_passed(await trio.all_three(start))
    with pytest.raises(AlreadyExists):
        await trio.verify(start)
    await forget(trio, start, FINAL)
    with pytest.raises(FailedPrecondition):
        await trio.verify(start)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda start: start.run_id.Clear(), id="no id"),
        pytest.param(lambda start: setattr(start, "deadline_ms", 0), id="no deadline"),
        pytest.param(lambda start: setattr(start, "deadline_ms", 3_600_000), id="a long deadline"),
        pytest.param(lambda start: start.peers.pop(FD), id="a peer missing"),
        pytest.param(lambda start: start.peers.update({FD: "no address"}), id="a peer without address"),
        pytest.param(lambda start: start.clock.entries.update({f"p{n}": 1 for n in range(20)}), id="a huge clock"),
        pytest.param(lambda start: start.clock.entries.update({"A\n": 1}), id="a strange clock"),
    ],
)
async def test_a_malformed_start_is_refused(trio: Trio, spoil: Callable[[Any], object]) -> None:
    start = trio.start_message()
    spoil(start)
    with pytest.raises(InvalidArgument):
        await trio.verify(start)


@pytest.mark.parametrize(
    "fields",
    [{"sender": FD}, {"sender": "payment"}, {"events": [2]}, {"events": [77]}, {"run_id": verification_pb2.RunId()}],
)
async def test_a_malformed_notification_is_refused(trio: Trio, fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "run_id": trio.start_message().run_id,
        "sender": TV,
        "events": [verification_pb2.EVENT_A],
        "clock": vector_clock_pb2.VectorClock(entries={TV: 1}),
    }
    bad = verification_pb2.Notification(**(good | fields))
    response = await trio.notify(FD, bad, verification_pb2.Notification(**good))
    assert list(response.refused) == [0], "the other one is taken"
    assert not response.send_again


async def test_too_many_notifications_at_once_are_refused(trio: Trio) -> None:
    with pytest.raises(InvalidArgument):
        await trio.notify(FD, *[verification_pb2.Notification()] * (NOTIFICATIONS_MAX + 1))


async def test_a_flood_of_notifications_for_orders_that_never_come_is_bounded_and_stops_no_order() -> None:
    """Whoever floods is told to send again; orders go on, and what was kept expires."""
    limits = Limits(early_max=50, early_age_s_max=0.3, over_age_s_max=0.3, sweep_interval_s=0.02)
    async with running_trio(limits) as trio:

        def orphan() -> verification_pb2.Notification:
            return verification_pb2.Notification(
                run_id=trio.start_message().run_id,
                sender=TV,
                events=[verification_pb2.EVENT_A],
                clock=vector_clock_pb2.VectorClock(entries={TV: 1}),
            )

        response = await trio.notify(FD, *[orphan() for _ in range(200)])
        assert list(response.send_again) == list(range(50, 200))
        assert len(trio.verifications[FD].runs) == 50
        start = trio.start_message()
        assert_passed(await trio.all_three(start))
        await forget(trio, start, FINAL)
        async with asyncio.timeout(5):
            while len(trio.verifications[FD].runs):  # noqa: ASYNC110 - expiry tells nobody
                await asyncio.sleep(0.01)


async def test_a_notification_that_finds_no_room_is_sent_again(trio: Trio, history: History) -> None:
    """The order has not reached fraud detection when transaction verification speaks of it, and there is no room."""
    full = replace(Limits(), early_max=0)
    trio.verifications[FD].runs._limits = full
    start = trio.start_message()
    verifying = asyncio.create_task(trio.verify(start))
    await history.reaches(Event.B)
    assert_passed([*await asyncio.gather(trio.detect(start), trio.suggest(start)), await verifying])
    assert_causal(history)
