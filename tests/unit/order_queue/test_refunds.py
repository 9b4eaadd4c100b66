"""Refunds: what the machine keeps of them, what the service answers, and how they come to PostgreSQL."""

import asyncio
from typing import Any

import psycopg
import pytest
import structlog

from order_queue.commands import (
    Bounds,
    CompleteRefund,
    Full,
    InArchive,
    RefundCompleted,
    RefundRefused,
    RefundRequested,
    encode,
)
from order_queue.order_record import OrderState
from order_queue.queue_machine import QueueMachine
from order_queue.refund_servicer import RefundServicer
from tests.unit.order_queue import words
from tests.unit.order_queue.harness import WAIT_MS, Context, Harness, started
from tests.unit.order_queue.test_recorder import FakeStore, recording, until
from tests.unit.order_queue.words import request_refund
from utils.clocks.story import unpack
from utils.pb import refund_pb2 as pb
from utils.raft.errors import OutcomeUnknownError
from utils.rpc.errors import FailedPrecondition, InvalidArgument, NotFound, NotLeader, ResourceExhausted, Unavailable


def completion(number: int, code: str = "REF-1") -> CompleteRefund:
    return CompleteRefund(words.order_id(number), code)


def apply(machine: QueueMachine, *commands: Any) -> list[Any]:
    """From the index on after those that were applied so."""
    applied = getattr(machine, "_test_index", 0)
    outcomes = [machine.apply(index, encode(command)) for index, command in enumerate(commands, applied + 1)]
    machine._test_index = applied + len(commands)  # type: ignore[attr-defined]
    return outcomes


def approved_orders(*numbers: int) -> QueueMachine:
    machine = words.machine()
    apply(machine, *(words.enqueue(number) for number in numbers))
    apply(machine, words.complete(*(words.approved(number) for number in numbers)))
    return machine


def unfinished(machine: QueueMachine) -> list[int]:
    return [words.number_of(record.order_id) for record in machine.unfinished_refunds(9)]


def test_the_first_request_stands_and_the_orders_end_too() -> None:
    machine = approved_orders(1)
    before = machine.record(words.order_id(1))
    (first,) = apply(machine, request_refund(1))
    assert isinstance(first, RefundRequested)
    assert first.is_new
    (second,) = apply(machine, request_refund(1, restock=False))
    assert second == RefundRequested(first.record, is_new=False)
    assert unfinished(machine) == [1]
    assert before is not None
    assert (first.record.state, first.record.confirmation_code) == (OrderState.APPROVED, "CODE-1")
    assert [unpack(event).name for event in first.record.story] == ["enqueued", "completed", "refund requested"]


def test_a_refund_is_completed_once() -> None:
    machine = approved_orders(1)
    apply(machine, request_refund(1))
    identity = words.order_id(1)
    assert apply(machine, completion(1)) == [RefundCompleted(identity, is_new=True, is_alarm=False)]
    assert unfinished(machine) == []
    assert apply(machine, completion(1)) == [RefundCompleted(identity, is_new=False, is_alarm=False)]
    assert apply(machine, completion(1, "REF-2")) == [RefundCompleted(identity, is_new=False, is_alarm=True)]
    record = machine.record(identity)
    assert record is not None
    assert record.refund is not None
    assert (record.refund.refund_code, record.refund.requested_index, record.refund.done_index) == ("REF-1", 3, 4)
    (again,) = apply(machine, request_refund(1))
    assert again == RefundRequested(record, is_new=False)
    assert unfinished(machine) == [], "refunded twice"


def test_only_an_approved_order_is_refunded() -> None:
    machine = words.machine()
    apply(machine, words.enqueue(1), words.enqueue(2), words.complete(words.rejected(2)), words.rejection(3))
    before = machine.snapshot()
    refused = apply(machine, *(request_refund(number) for number in (1, 2, 3, 4)))
    assert refused == [RefundRefused(machine.record(words.order_id(number))) for number in (1, 2, 3, 4)]
    assert apply(machine, completion(1)) == [RefundCompleted(words.order_id(1), is_new=False, is_alarm=True)]
    assert machine.snapshot() == before


def test_refunds_are_bounded() -> None:
    machine = approved_orders(1, 2, 3)
    bounds = Bounds(pending_max=1, unrecorded_max=3)
    assert apply(machine, request_refund(1, bounds=bounds)) == [Full("ended orders that are not recorded yet", 3)]
    _, first, second = apply(
        machine, words.mark_recorded(4), request_refund(1, bounds=bounds), request_refund(2, bounds=bounds)
    )
    assert isinstance(first, RefundRequested)
    assert second == Full("unfinished refunds", 1)


def test_a_refund_waits_for_postgresql_again_at_its_own_index() -> None:
    machine = approved_orders(1, 2)
    # Order 1 was never recorded; its place is now behind that of order 2.
    apply(machine, request_refund(1))
    assert [words.number_of(record.order_id) for record in machine.first_unrecorded(9)] == [2, 1]
    apply(machine, words.mark_recorded(3))
    assert [words.number_of(record.order_id) for record in machine.first_unrecorded(9)] == [1]
    apply(machine, completion(1), words.mark_recorded(4))
    assert [record.changed_index for record in machine.first_unrecorded(9)] == [6]


def test_a_refund_is_forgotten_only_when_postgresql_has_its_end() -> None:
    machine = approved_orders(1, 2)
    apply(machine, request_refund(1), words.mark_recorded(4), words.forget(99))
    assert machine.is_forgotten(words.order_id(2))
    assert unfinished(machine) == [1], "an unfinished refund was forgotten"
    (_, forgot) = apply(machine, completion(1), words.forget(99))
    assert forgot.orders == 0
    (_, kept, gone) = apply(machine, words.mark_recorded(7), words.forget(6), words.forget(7))
    assert (kept.orders, gone.orders) == (0, 1)
    assert machine.is_forgotten(words.order_id(1))
    assert apply(machine, completion(1)) == [RefundCompleted(words.order_id(1), is_new=False, is_alarm=False)]


def test_a_forgotten_order_is_refunded_with_what_postgresql_has_of_it() -> None:
    machine = approved_orders(1, 2)
    apply(machine, words.mark_recorded(3), words.forget(3))
    ended = machine.ended_count
    assert apply(machine, request_refund(1)) == [InArchive()]
    (requested,) = apply(machine, request_refund(1, archived=True))
    assert requested.is_new
    assert (machine.is_forgotten(words.order_id(1)), machine.ended_count) == (False, ended)
    apply(machine, words.enqueue(1))
    assert machine.pending_count == 0, "it ran again"
    apply(machine, completion(1), words.mark_recorded(99), words.forget(99))
    assert (machine.is_forgotten(words.order_id(1)), machine.ended_count) == (True, ended)


def test_a_restored_machine_knows_its_refunds() -> None:
    machine = approved_orders(1, 2, 3)
    apply(machine, request_refund(3), request_refund(1), request_refund(2), completion(3))
    copy = words.machine()
    copy.restore(machine.snapshot())
    assert copy.snapshot() == machine.snapshot()
    assert unfinished(copy) == unfinished(machine) == [1, 2]
    assert copy.first_unrecorded(9) == machine.first_unrecorded(9)


# The service


class RefundHarness(Harness):
    def __init__(self, bounds: Bounds = words.BOUNDS) -> None:
        super().__init__(bounds)
        self.refunds = RefundServicer(
            self.consensus, self.machine, self.wakeups, bounds=bounds, archived=self.servicer.archived
        )

    async def request(self, number: int, *, wait_ms: int = 0, **fields: Any) -> Any:
        fields = {"operator": "ada", "reason": "The parcel was lost.", "restock": True, **fields}
        message = pb.RequestRefundRequest(order_id=words.order_id(number), wait_ms=wait_ms, **fields)
        return (await self.refunds.RequestRefund(message, Context())).record

    async def poll_refunds(self, *held: int, wait_ms: int = 0) -> list[int]:
        held_ids = [words.order_id(number) for number in held]
        message = pb.PollRefundsRequest(held_order_ids=held_ids, max_refunds=8, wait_ms=wait_ms)
        response = await self.refunds.PollRefunds(message, Context())
        return [words.number_of(refund.order_id) for refund in response.refunds]

    async def complete_refund(self, number: int, code: str = "REF-1") -> None:
        message = pb.CompleteRefundRequest(order_id=words.order_id(number), refund_code=code)
        await self.refunds.CompleteRefund(message, Context())


def queue_with_approved(*numbers: int) -> RefundHarness:
    queue = RefundHarness()
    queue.commit(*(words.enqueue(number) for number in numbers))
    queue.commit(words.complete(*(words.approved(number) for number in numbers)))
    return queue


async def test_an_operator_hears_the_end_for_which_the_executors_are_asked() -> None:
    queue = queue_with_approved(1, 2)
    polling = await started(queue.poll_refunds(wait_ms=WAIT_MS))
    asking = await started(queue.request(1, wait_ms=WAIT_MS))
    assert await polling == [1]
    assert await queue.poll_refunds(1) == []
    waiting_for_more = await started(queue.poll_refunds(1, wait_ms=WAIT_MS))
    assert not asking.done()
    await queue.complete_refund(1)
    assert (await asking).refund.refund_code == "REF-1"
    await queue.request(2)
    assert await waiting_for_more == [2]
    order = await queue.get(1)
    assert (order.refund.operator, order.refund.reason, order.refund.restock) == ("ada", "The parcel was lost.", True)


async def test_a_repeated_request_is_answered_with_the_first() -> None:
    queue = queue_with_approved(1)
    queue.consensus.failures = [OutcomeUnknownError("lost")]
    with pytest.raises(Unavailable):
        await queue.request(1)
    first = await queue.request(1)
    other = await queue.request(1, operator="bob", reason="Goodwill.", restock=False)
    assert other == first
    assert await queue.poll_refunds() == [1]


async def test_two_operators_at_once_ask_for_one_refund() -> None:
    queue = queue_with_approved(1)
    one, other = await asyncio.gather(queue.request(1, operator="ada"), queue.request(1, operator="bob"))
    assert one == other
    assert await queue.poll_refunds() == [1]


async def test_an_operator_who_has_gone_changes_nothing() -> None:
    queue = queue_with_approved(1)
    asking = await started(queue.request(1, wait_ms=WAIT_MS))
    asking.cancel()
    await asyncio.wait((asking,))
    assert await queue.poll_refunds() == [1]


async def test_what_cannot_be_refunded_says_why_and_changes_nothing() -> None:
    queue = RefundHarness()
    queue.commit(words.enqueue(1), words.enqueue(2), words.complete(words.rejected(2)), words.rejection(3))
    before = queue.machine.snapshot()
    with pytest.raises(FailedPrecondition, match="is pending: only an approved order"):
        await queue.request(1)
    for number in (2, 3):
        with pytest.raises(FailedPrecondition, match="is rejected: only an approved order"):
            await queue.request(number)
    with pytest.raises(NotFound, match="is not known"):
        await queue.request(4)
    with structlog.testing.capture_logs() as logs:
        await queue.complete_refund(1)
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert queue.machine.snapshot() == before


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"operator": ""}, "operator"),
        ({"operator": "x" * 101}, "operator"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "\0"}, "reason"),
    ],
)
async def test_a_malformed_request_does_not_reach_the_log(fields: dict[str, Any], named: str) -> None:
    queue = queue_with_approved(1)
    index = queue.consensus.index
    with pytest.raises(InvalidArgument, match=named):
        await queue.request(1, **fields)
    with pytest.raises(InvalidArgument, match="refund_code"):
        await queue.complete_refund(1, "")
    with pytest.raises(InvalidArgument, match="max_refunds"):
        await queue.refunds.PollRefunds(pb.PollRefundsRequest(), Context())
    assert queue.consensus.index == index


async def test_a_follower_sends_everybody_to_the_leader_also_while_they_wait() -> None:
    queue = queue_with_approved(1, 2)
    asking = await started(queue.request(1, wait_ms=WAIT_MS))
    polling = await started(queue.poll_refunds(1, wait_ms=WAIT_MS))
    queue.lose_leadership()
    for call in (asking, polling, queue.request(2), queue.poll_refunds(), queue.complete_refund(1)):
        with pytest.raises(NotLeader):
            await call


async def test_an_order_that_only_postgresql_knows_is_refunded_if_postgresql_answers() -> None:
    queue = queue_with_approved(1, 2)
    queue.forget(1)
    before = queue.machine.snapshot()
    queue.archive.failure = psycopg.OperationalError("gone")
    with pytest.raises(Unavailable, match="PostgreSQL does not tell"):
        await queue.request(1)
    assert queue.machine.snapshot() == before
    queue.archive.failure = None
    assert (await queue.request(1)).refund.restock
    assert await queue.poll_refunds() == [1]


async def test_a_full_queue_takes_no_refund() -> None:
    queue = RefundHarness(Bounds(pending_max=5, unrecorded_max=1))
    queue.commit(words.enqueue(1), words.complete(words.approved(1)))
    with pytest.raises(ResourceExhausted, match="full: 1 ended orders"):
        await queue.request(1)


async def test_a_refund_is_recorded_when_it_is_requested_and_when_it_is_done() -> None:
    queue, store = queue_with_approved(1), FakeStore()
    async with recording(queue, store):
        await until(lambda: queue.machine.unrecorded_count == 0)
        await queue.request(1)
        await until(lambda: queue.machine.unrecorded_count == 0)
        await queue.complete_refund(1)
        await until(lambda: queue.machine.unrecorded_count == 0)
    assert store.order_ids == [words.order_id(1)] * 3
