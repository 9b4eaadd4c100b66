"""How orders are handed out: the long poll, its claims, and leadership confirmed before every answer."""

import asyncio

import pytest
import structlog

from tests.unit.order_queue import words
from tests.unit.order_queue.harness import WAIT_MS, Harness, approved, started
from utils.rpc.errors import FailedPrecondition, NotLeader


async def test_orders_are_handed_out_by_priority_and_once() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1, 2), words.enqueue(2, 9), words.enqueue(3, 2), words.enqueue(4, 9))
    assert await queue.poll(max_orders=3) == [2, 4, 1]
    assert await queue.poll(2, 4, 1) == [3]
    assert await queue.poll(2, 4, 1, 3) == []


async def test_an_answer_names_the_order_and_its_position() -> None:
    queue = Harness()
    queue.commit(words.rejection(8), words.enqueue(1, 2))
    [record] = queue.machine.first_pending(1)
    assert record.order == words.order(1, 2)
    assert record.position == 2
    assert await queue.poll() == [1]


async def test_an_order_whose_hand_out_was_lost_is_handed_out_again() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    assert await queue.poll(max_orders=1) == [1]
    assert await queue.poll(max_orders=1) == [1]


async def test_an_order_that_ended_is_not_handed_out_though_it_is_not_held_any_more() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    assert await queue.poll(max_orders=1) == [1]
    await queue.complete(approved(1))
    assert await queue.poll() == [2]


async def test_a_poll_waits_for_the_first_order() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    poll = await started(queue.poll(1, wait_ms=WAIT_MS))
    assert not poll.done()
    queue.commit(words.rejection(2), words.enqueue(3))
    async with asyncio.timeout(5):
        assert await poll == [3]


async def test_a_poll_that_waits_in_vain_ends_empty() -> None:
    async with asyncio.timeout(5):
        assert await Harness().poll(wait_ms=30) == []
        assert await Harness().poll(wait_ms=WAIT_MS, timeout_s=1.03) == []


async def test_leadership_is_confirmed_before_orders_are_handed_out() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    queue.consensus.barrier_open.clear()
    poll = await started(queue.poll())
    assert queue.consensus.barriers == 1
    queue.lose_leadership()
    queue.consensus.barrier_open.set()
    with pytest.raises(NotLeader):
        await poll
    assert not queue.claims.held


async def test_the_heap_is_looked_at_after_leadership_was_confirmed() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1, 1), words.enqueue(2, 1))
    queue.consensus.barrier_open.clear()
    poll = await started(queue.poll(max_orders=2))
    queue.commit(words.enqueue(3, 50), words.complete(words.approved(1)))
    queue.consensus.barrier_open.set()
    assert await poll == [3, 2]


async def test_a_poll_whose_orders_end_while_leadership_is_confirmed_goes_on_waiting() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    queue.consensus.barrier_open.clear()
    poll = await started(queue.poll(wait_ms=WAIT_MS))
    queue.commit(words.complete(words.approved(1)))
    queue.consensus.barrier_open.set()
    queue.commit(words.enqueue(2))
    async with asyncio.timeout(5):
        assert await poll == [2]


async def test_a_newer_poll_ends_the_one_that_waits_and_only_it_gets_orders() -> None:
    queue = Harness()
    older = await started(queue.poll(wait_ms=WAIT_MS))
    newer = await started(queue.poll(wait_ms=WAIT_MS))
    async with asyncio.timeout(5):
        assert await older == []
    queue.commit(words.enqueue(1))
    async with asyncio.timeout(5):
        assert await newer == [1]


async def test_polls_that_confirm_leadership_at_the_same_time_hand_an_order_out_once() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    queue.consensus.barrier_open.clear()
    polls = [await started(queue.poll(max_orders=2)) for _ in range(3)]
    assert queue.consensus.barriers == 3
    queue.consensus.barrier_open.set()
    assert await asyncio.gather(*polls) == [[], [], [1, 2]]


async def test_a_late_duplicate_of_an_older_poll_is_healed_by_the_next_poll() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    assert await queue.poll(max_orders=1) == [1]
    waiting = await started(queue.poll(1, 2, wait_ms=WAIT_MS))
    await queue.poll(max_orders=1)  # the first poll again; nobody reads its answer
    async with asyncio.timeout(5):
        assert await waiting == []
    assert await queue.poll(1, 2) == []


async def test_a_deposed_executor_is_refused() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1))
    assert await queue.poll(epoch=4) == [1]
    with pytest.raises(FailedPrecondition) as refused:
        await queue.poll(1, epoch=3)
    assert refused.value.metadata == {"highest_epoch": "4"}
    assert await queue.poll(1, epoch=4) == []


async def test_a_new_executor_takes_over_what_the_old_one_held_and_ends_its_poll() -> None:
    queue = Harness()
    queue.commit(words.enqueue(1), words.enqueue(2))
    assert await queue.poll(epoch=1, max_orders=2) == [1, 2]
    old = await started(queue.poll(1, 2, epoch=1, wait_ms=WAIT_MS))
    # It recovered order 2 from its own log, and knows nothing of order 1.
    assert await queue.poll(2, epoch=2, executor_id="order_executor_2") == [1]
    async with asyncio.timeout(5):
        assert await old == []


async def test_two_executors_in_one_epoch_are_an_alarm() -> None:
    queue = Harness()
    await queue.poll(epoch=2)
    with structlog.testing.capture_logs() as logs, pytest.raises(FailedPrecondition, match="order_executor_1 leads"):
        await queue.poll(epoch=2, executor_id="order_executor_2")
    assert [entry["log_level"] for entry in logs] == ["error"]


async def test_a_new_leader_of_the_queue_hands_out_only_what_the_executor_does_not_hold() -> None:
    queue = Harness()
    queue.lose_leadership()
    queue.commit(words.enqueue(1, 3), words.enqueue(2, 2), words.enqueue(3, 1))
    queue.consensus.win_leadership()
    assert await queue.poll(1, 3, epoch=7) == [2]


async def test_a_poll_that_outlives_its_leaders_term_hands_out_nothing() -> None:
    queue = Harness()
    poll = await started(queue.poll(wait_ms=WAIT_MS))
    queue.lose_leadership()
    queue.consensus.win_leadership()
    queue.commit(words.enqueue(1))
    async with asyncio.timeout(5):
        assert await poll == []
    assert not queue.claims.held


async def test_a_waiting_poll_on_a_deposed_leader_is_sent_on() -> None:
    queue = Harness()
    poll = await started(queue.poll(wait_ms=WAIT_MS))
    queue.lose_leadership()
    with pytest.raises(NotLeader):
        await asyncio.wait_for(poll, 5)


async def test_a_cancelled_poll_hands_out_nothing() -> None:
    queue = Harness()
    poll = await started(queue.poll(wait_ms=WAIT_MS))
    poll.cancel()
    await asyncio.wait((poll,))
    queue.commit(words.enqueue(1))
    assert await queue.poll() == [1]
