"""Enqueue, RecordRejection, GetOrder, Complete, GetQueueStats."""

import asyncio
from typing import Any

import psycopg
import pytest
import structlog

from order_queue.commands import Bounds
from order_queue.wakeups import end_of
from tests.unit.order_queue import words
from tests.unit.order_queue.harness import WAIT_MS, Context, Harness, approved, rejected, rejection_request, started
from utils.pb import order_queue_pb2 as pb
from utils.pb.convert import queued_order_to_proto
from utils.raft.errors import OutcomeUnknownError, ProposalDroppedError, ProposalRefusedError, RaftError
from utils.rpc.errors import NotFound, NotLeader, ResourceExhausted, Unavailable


async def test_enqueue_answers_the_record_that_won() -> None:
    queue = Harness()
    first = await queue.enqueue(1, 3, body=7)
    assert first == pb.OrderRecord(
        order_id=words.order_id(1),
        state=pb.OrderRecord.STATE_PENDING,
        position=1,
        fingerprint=words.fingerprint(7),
        order=queued_order_to_proto(words.order(1, 3)),
        risk_score=12,
    )
    assert await queue.enqueue(1, 9, body=8) == first


async def test_a_rejection_is_kept_and_answers_a_later_enqueue() -> None:
    queue = Harness()
    record = (await queue.servicer.RecordRejection(rejection_request(1), Context())).record
    assert record.state == pb.OrderRecord.STATE_REJECTED
    assert [reason.code for reason in record.reasons] == ["card_number_invalid"]
    assert record.risk_score == 40
    assert not record.HasField("order")
    assert await queue.enqueue(1) == record


async def test_a_full_queue_refuses_new_orders_before_they_reach_the_log_and_knows_the_old_ones() -> None:
    queue = Harness(Bounds(pending_max=1, unrecorded_max=10))
    first = await queue.enqueue(1)
    with pytest.raises(ResourceExhausted, match="full: 1 pending"):
        await queue.enqueue(2)
    assert queue.consensus.index == 1
    assert await queue.enqueue(1) == first


async def test_a_queue_that_fills_up_while_the_proposal_travels_refuses_too() -> None:
    queue = Harness(Bounds(pending_max=1, unrecorded_max=10))
    filler = words.enqueue(9, bounds=Bounds(pending_max=1, unrecorded_max=10))
    travelling = queue.consensus.propose

    async def propose(command: bytes, *, timeout_s: float) -> Any:
        queue.commit(filler)
        return await travelling(command, timeout_s=timeout_s)

    queue.consensus.propose = propose  # type: ignore[method-assign]
    with pytest.raises(ResourceExhausted):
        await queue.enqueue(1)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OutcomeUnknownError("lost"), Unavailable),
        (ProposalDroppedError("dropped"), Unavailable),
        (ProposalRefusedError("busy"), ResourceExhausted),
    ],
)
async def test_what_consensus_cannot_do_is_said_in_the_error_table(failure: RaftError, error: type[Exception]) -> None:
    queue = Harness()
    queue.consensus.failures = [failure]
    with pytest.raises(error):
        await queue.enqueue(1)


async def test_an_enqueue_of_unknown_outcome_can_be_sent_again() -> None:
    queue = Harness()
    queue.consensus.failures = [OutcomeUnknownError("lost")]
    queue.consensus.applied_anyway = True
    with pytest.raises(Unavailable):
        await queue.enqueue(1)
    assert (await queue.enqueue(1)).position == 1
    assert await queue.poll() == [1]


async def test_a_follower_redirects_everything_that_needs_the_leader() -> None:
    queue = Harness()
    await queue.enqueue(1)
    queue.lose_leadership()
    calls = [
        queue.enqueue(2),
        queue.servicer.RecordRejection(rejection_request(3), Context()),
        queue.get(1),
        queue.get(1, WAIT_MS),
        queue.get(2),
        queue.poll(),
        queue.complete(approved(1)),
        queue.servicer.GetQueueStats(pb.GetQueueStatsRequest(), Context()),
    ]
    for call in calls:
        with pytest.raises(NotLeader) as redirect:
            await call
        assert redirect.value.leader_address == "queue-2:50054"


async def test_get_order_knows_every_state() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2), words.enqueue(3))
    await queue.complete(approved(1, code="PAID-1"), rejected(2))
    one, two, three = [await queue.get(number) for number in (1, 2, 3)]
    assert (one.state, one.confirmation_code) == (pb.OrderRecord.STATE_APPROVED, "PAID-1")
    assert (two.state, two.reasons[0].code) == (pb.OrderRecord.STATE_REJECTED, "out_of_stock")
    assert three.state == pb.OrderRecord.STATE_PENDING
    with pytest.raises(NotFound):
        await queue.get(4)


async def test_pending_and_unknown_are_said_only_by_a_confirmed_leader_but_an_end_is_final() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    await queue.complete(approved(2))
    await queue.get(2)
    assert queue.consensus.barriers == 0
    await queue.get(1)
    assert queue.consensus.barriers == 1
    with pytest.raises(NotFound):
        await queue.get(3)
    assert queue.consensus.barriers == 2
    queue.lose_leadership()
    assert (await queue.get(2)).state == pb.OrderRecord.STATE_APPROVED


async def test_an_order_that_arrives_while_leadership_is_confirmed_is_found() -> None:
    queue = Harness()
    queue.consensus.barrier_open.clear()
    call = await started(queue.get(1))
    queue.commit(words.enqueue(1))
    queue.consensus.barrier_open.set()
    assert (await call).state == pb.OrderRecord.STATE_PENDING


async def test_whoever_waits_for_an_end_hears_it_at_once() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    calls = [await started(queue.get(1, WAIT_MS)) for _ in range(3)]
    await queue.complete(approved(2))
    assert not any(call.done() for call in calls)
    await queue.complete(approved(1))
    async with asyncio.timeout(5):
        assert {(await call).state for call in calls} == {pb.OrderRecord.STATE_APPROVED}


async def test_a_wait_without_an_end_answers_pending() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    async with asyncio.timeout(5):
        assert (await queue.get(1, wait_ms=30)).state == pb.OrderRecord.STATE_PENDING
        # The caller's own patience is shorter than the wait that it asks for.
        assert (await queue.get(1, WAIT_MS, timeout_s=1.03)).state == pb.OrderRecord.STATE_PENDING


async def test_whoever_waits_on_a_leader_that_is_deposed_is_sent_on() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    call = await started(queue.get(1, WAIT_MS))
    queue.lose_leadership()
    with pytest.raises(NotLeader):
        await asyncio.wait_for(call, 5)


async def test_waiting_leaves_nothing_behind() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    call = await started(queue.get(1, WAIT_MS))
    await queue.get(1, wait_ms=1)
    call.cancel()
    await asyncio.wait((call,))
    assert not queue.wakeups.is_awaited(end_of(words.order_id(1)))


async def test_complete_can_be_repeated() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    with structlog.testing.capture_logs() as logs:
        await queue.complete(approved(1))
        await queue.complete(approved(1, epoch=2))
    assert [entry["log_level"] for entry in logs] == ["info"]


async def test_a_different_result_is_answered_as_success_and_raises_an_alarm() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    await queue.complete(approved(1))
    with structlog.testing.capture_logs() as logs:
        await queue.complete(rejected(1, epoch=2), approved(2, epoch=2))
    assert [(entry["log_level"], entry["order_id"], entry["state_kept"]) for entry in logs] == [
        ("error", words.order_id(1), "approved"),
        ("error", words.order_id(2), "unknown order"),
    ]
    assert (await queue.get(1)).state == pb.OrderRecord.STATE_APPROVED


async def test_stats_tell_waiting_from_claimed() -> None:
    queue = Harness()
    queue.commit(*(words.enqueue(number) for number in range(1, 6)), words.rejection(6))
    await queue.poll(max_orders=3)
    await queue.complete(approved(1))
    stats = await queue.servicer.GetQueueStats(pb.GetQueueStatsRequest(), Context())
    assert stats == pb.GetQueueStatsResponse(waiting=2, claimed=2, completed=2, unrecorded=2)


async def test_a_pending_order_says_how_many_come_before_it() -> None:
    queue = Harness()
    for number, quantity in ((1, 5), (2, 1), (3, 3)):
        await queue.enqueue(number, quantity)
    assert await queue.orders_ahead(2) == 2
    await queue.poll(max_orders=1)
    assert [await queue.orders_ahead(number) for number in (1, 2, 3)] == [0, 1, 0]
    await queue.complete(approved(2))
    assert await queue.orders_ahead(2) is None


async def test_an_order_that_is_forgotten_is_answered_from_the_archive() -> None:
    queue = Harness()
    first = await queue.enqueue(1)
    await queue.complete(approved(1))
    ended = await queue.get(1)
    queue.forget(1)
    assert await queue.get(1) == await queue.enqueue(1) == ended
    rejection = await queue.servicer.RecordRejection(rejection_request(1), Context())
    assert (rejection.record, ended.fingerprint) == (ended, first.fingerprint)
    assert queue.machine.pending_count == 0


async def test_a_follower_answers_a_forgotten_order_too() -> None:
    queue = Harness()
    await queue.enqueue(1)
    await queue.complete(approved(1))
    queue.forget(1)
    queue.lose_leadership()
    assert (await queue.get(1)).state == pb.OrderRecord.STATE_APPROVED


@pytest.mark.parametrize("failure", [psycopg.OperationalError("gone"), OSError("no route"), TimeoutError(), None])
async def test_without_its_archive_a_forgotten_order_is_neither_run_again_nor_unknown(
    failure: Exception | None,
) -> None:
    queue = Harness()
    await queue.enqueue(1)
    await queue.complete(approved(1))
    queue.forget(1)
    queue.archive.failure = failure
    queue.archive.records.clear()
    for ask in (queue.get, queue.enqueue):
        with pytest.raises(Unavailable, match="ended long ago"):
            await ask(1)
    assert queue.machine.pending_count == 0


async def test_a_late_result_of_a_forgotten_order_changes_nothing_and_alarms_nobody() -> None:
    queue = Harness()
    await queue.enqueue(1)
    await queue.complete(approved(1))
    queue.forget(1)
    with structlog.testing.capture_logs() as logs:
        await queue.complete(approved(1))
    assert logs == []
    assert queue.machine.ended_count == 1
