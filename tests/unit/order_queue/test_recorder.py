"""When ended orders are written and marked. Rows in a real PostgreSQL: tests/integration/order_queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
import structlog

from order_queue.commands import Bounds
from order_queue.order_record import OrderRecord
from order_queue.recorder import BATCH_MAX, FORGOTTEN_MAX, Recorder
from tests.unit.order_queue import words
from tests.unit.order_queue.harness import Harness
from utils.raft.errors import OutcomeUnknownError

# So short that every batch looks for what is old.
KEYS_REMEMBERED_S = 0.0


class FakeStore:
    """Keeps what it is given; while `failures` are left, it raises them instead."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures: list[Exception] = []
        self.closed = 0
        # What was written long enough ago: the log index up to which.
        self.old_up_to = 0
        self.tried = asyncio.Event()

    async def write(self, records: list[OrderRecord]) -> None:
        self.tried.set()
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append([record.order_id for record in records])

    async def recorded_before(self, age_s: float) -> int:
        assert age_s == KEYS_REMEMBERED_S
        return self.old_up_to

    async def close(self) -> None:
        self.closed += 1

    @property
    def order_ids(self) -> list[str]:
        return [order_id for batch in self.batches for order_id in batch]


@contextlib.asynccontextmanager
async def recording(queue: Harness, store: FakeStore, interval_s: float = 0.001) -> AsyncIterator[None]:
    recorder = Recorder(
        queue.consensus,
        queue.machine,
        queue.wakeups,
        store,
        interval_s=interval_s,
        backoff_s_max=0.01,
        keys_remembered_s=KEYS_REMEMBERED_S,
    )
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled() or task.exception() is None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 what is waited for ends in tests' fakes, which wake nobody
            await asyncio.sleep(0.001)


async def test_what_ended_is_written_in_order_and_marked() -> None:
    queue, store = Harness(), FakeStore()
    queue.commit(words.enqueue(1), words.enqueue(2), words.rejection(3))
    async with recording(queue, store):
        queue.commit(words.complete(words.approved(2)))
        await until(lambda: queue.machine.unrecorded_count == 0)
    assert store.order_ids == [words.order_id(3), words.order_id(2)]
    assert queue.machine.record(words.order_id(2)) is not None


async def test_orders_that_end_together_are_written_together() -> None:
    queue, store = Harness(), FakeStore()
    async with recording(queue, store, interval_s=0.05):
        await asyncio.sleep(0)
        for number in range(20):
            queue.commit(words.rejection(number))
            await asyncio.sleep(0)
        await until(lambda: queue.machine.unrecorded_count == 0)
    assert [len(batch) for batch in store.batches] == [20]


async def test_a_backlog_is_written_in_bounded_batches() -> None:
    queue, store = Harness(), FakeStore()
    bounds = Bounds(pending_max=9, unrecorded_max=9_999)
    queue.commit(*(words.rejection(number, bounds=bounds) for number in range(2 * BATCH_MAX + 1)))
    async with recording(queue, store):
        await until(lambda: queue.machine.unrecorded_count == 0)
    assert [len(batch) for batch in store.batches] == [BATCH_MAX, BATCH_MAX, 1]


@pytest.mark.parametrize("failure", [psycopg.OperationalError("gone"), OSError("no route"), TimeoutError()], ids=type)
async def test_without_postgresql_nothing_is_marked_until_it_is_back(failure: Exception) -> None:
    queue, store = Harness(), FakeStore()
    queue.commit(words.rejection(1))
    store.failures = [failure] * 4
    with structlog.testing.capture_logs() as logs:
        async with recording(queue, store):
            await until(lambda: len(store.failures) < 4)
            assert queue.machine.unrecorded_count == 1
            await until(lambda: queue.machine.unrecorded_count == 0)
    assert store.order_ids == [words.order_id(1)]
    assert [entry["log_level"] for entry in logs] == ["warning"] * 4 + ["info"]


async def test_what_is_written_and_not_marked_is_written_again() -> None:
    queue, store = Harness(), FakeStore()
    queue.commit(words.rejection(1))
    queue.consensus.failures = [OutcomeUnknownError("lost")]
    async with recording(queue, store):
        await until(lambda: queue.machine.unrecorded_count == 0)
    assert store.order_ids == [words.order_id(1)] * 2


async def test_only_the_leader_writes_and_a_new_one_takes_up_what_is_left() -> None:
    queue, store = Harness(), FakeStore()
    queue.lose_leadership()
    async with recording(queue, store):
        queue.commit(words.rejection(1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not store.tried.is_set()
        queue.consensus.win_leadership()
        queue.wakeups.wake_all()
        await until(lambda: queue.machine.unrecorded_count == 0)
    assert store.order_ids == [words.order_id(1)]


async def test_a_recorder_that_is_stopped_closes_its_connection() -> None:
    queue, store = Harness(), FakeStore()
    async with recording(queue, store):
        await asyncio.sleep(0)
    assert store.closed == 1


async def test_what_was_recorded_long_ago_is_forgotten_in_bounded_parts() -> None:
    queue, store = Harness(), FakeStore()
    bounds = Bounds(pending_max=9, unrecorded_max=9_999)
    queue.commit(*(words.rejection(number, bounds=bounds) for number in range(FORGOTTEN_MAX + 1)))
    store.old_up_to = FORGOTTEN_MAX + 1
    async with recording(queue, store):
        await until(lambda: queue.machine.is_forgotten(words.order_id(0)))
        queue.commit(words.rejection(5_000))
        await until(lambda: queue.machine.is_forgotten(words.order_id(FORGOTTEN_MAX)))
    assert not queue.machine.is_forgotten(words.order_id(5_000))
    assert queue.machine.ended_count == FORGOTTEN_MAX + 2


async def test_an_age_that_cannot_be_asked_for_holds_up_no_record() -> None:
    queue, store = Harness(), FakeStore()

    async def away(age_s: float) -> int:
        raise psycopg.OperationalError("gone")

    store.recorded_before = away  # type: ignore[method-assign]
    queue.commit(words.rejection(1))
    async with recording(queue, store):
        await until(lambda: queue.machine.unrecorded_count == 0)
        queue.commit(words.rejection(2))
        await until(lambda: len(store.order_ids) == 2)
