"""When a snapshot is due, and what of the log stays."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from tests.support.journal import Journal
from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.io.memory import MemoryStorage
from utils.raft.io.snapshots import SnapshotKeeper


class HeldStorage(MemoryStorage):
    """Each snapshot waits to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Semaphore(0)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self.let.acquire()
        super().save_snapshot(snapshot)


class Desk:
    """A keeper for which a snapshot is due after 20 entries or 1000 bytes."""

    def __init__(self) -> None:
        self.disk = HeldStorage()
        self.saved: asyncio.Queue[int] = asyncio.Queue()
        self.found: asyncio.Queue[Snapshot] = asyncio.Queue()
        self.keeper = SnapshotKeeper(
            self.disk, entries=20, log_bytes=1_000, saved=self.saved.put_nowait, found=self.found.put_nowait
        )
        self.machine = Journal()
        self.index = 0

    def applied(self, count: int, size: int = 1) -> None:
        for _ in range(count):
            self.index += 1
            self.keeper.applied(Entry(self.index, 1, EntryKind.COMMAND, bytes(size)))

    def is_due(self) -> bool:
        return self.keeper.is_due

    def take(self) -> None:
        self.keeper.take(self.machine, LogBase(self.index, 1), b"")

    async def takes(self) -> int:
        """And lets it be saved; how far the log may forget then."""
        self.take()
        self.disk.let.release()
        return await asyncio.wait_for(self.saved.get(), 10)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    for _ in range(5):
        desk.disk.let.release()
    await desk.keeper.stop()


async def test_a_snapshot_is_due_after_so_many_entries(desk: Desk) -> None:
    desk.applied(19)
    assert not desk.is_due()
    desk.applied(1)
    assert desk.is_due()


async def test_a_snapshot_is_due_after_so_many_bytes(desk: Desk) -> None:
    desk.applied(1, 999)
    assert not desk.is_due()
    desk.applied(1)
    assert desk.is_due()


async def test_one_snapshot_at_a_time_is_saved_and_counting_begins_when_it_is_taken(desk: Desk) -> None:
    desk.applied(20)
    desk.take()
    desk.applied(20)
    assert not desk.is_due()
    desk.disk.let.release()
    await asyncio.wait_for(desk.saved.get(), 10)
    await asyncio.sleep(0)
    assert desk.is_due()
    assert await desk.takes() == 38
    assert desk.disk.snapshot.last_included_index == 40


async def test_a_large_state_is_not_taken_again_before_the_log_has_grown_as_much(desk: Desk) -> None:
    desk.applied(20)
    desk.machine.commands = [bytes(5_000)]
    await desk.takes()
    desk.applied(100, 49)
    assert not desk.is_due()
    desk.applied(3, 49)
    assert desk.is_due()


async def test_a_restored_state_counts_like_one_that_was_taken(desk: Desk) -> None:
    desk.applied(19)
    desk.keeper.restored(Snapshot(50, 1, b"", bytes(500)))
    desk.applied(20)
    assert not desk.is_due()
    desk.applied(480)
    assert desk.is_due()


async def test_a_tenth_of_the_entries_stays_in_the_log_for_followers_that_lag(desk: Desk) -> None:
    desk.applied(30)
    assert await desk.takes() == 28


async def test_no_more_than_a_tenth_of_the_bytes_stays_in_the_log(desk: Desk) -> None:
    desk.applied(29)
    desk.applied(1, 100)
    assert await desk.takes() == 29
    desk.applied(20, 101)
    assert await desk.takes() == 50


async def test_what_was_applied_before_a_restore_does_not_count_as_kept(desk: Desk) -> None:
    desk.applied(10)
    desk.keeper.restored(Snapshot(10, 1, b"", b""))
    desk.applied(1)
    assert await desk.takes() == 10


async def test_without_space_the_log_is_kept_and_it_is_tried_again_later(desk: Desk) -> None:
    desk.applied(20)
    desk.disk.is_full = True
    desk.take()
    desk.disk.let.release()
    desk.applied(20)
    async with asyncio.timeout(10):
        while not desk.is_due():  # noqa: ASYNC110 nobody is told
            await asyncio.sleep(0.01)
    assert desk.saved.empty()
    desk.disk.is_full = False
    await desk.takes()


async def test_the_newest_durable_snapshot_is_found(desk: Desk) -> None:
    desk.applied(20)
    await desk.takes()
    desk.keeper.find()
    assert await asyncio.wait_for(desk.found.get(), 10) == desk.disk.snapshot


async def test_stopping_tells_nobody(desk: Desk) -> None:
    desk.applied(20)
    desk.take()
    desk.disk.let.release()
    await desk.keeper.stop()
    assert desk.saved.empty()
