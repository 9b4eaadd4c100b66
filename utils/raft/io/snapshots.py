"""When a node takes a snapshot, how it gets to the disk beside the log, and how much of the log stays.

`machine.snapshot()` holds up the event loop: a few milliseconds for each megabyte. A node takes one only after the log
has grown by more than the last one had, so the pauses stay in proportion to the work. Writing happens in a thread of
its own while the log goes on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from utils.observe.logging import get_logger
from utils.raft.core.messages import Entry, LogBase, Snapshot
from utils.raft.io.failure import DISK_FAILED, end_process
from utils.raft.io.log_file import StorageFullError
from utils.raft.io.storage import Storage
from utils.raft.state_machine import StateMachine

log = get_logger()

_T = TypeVar("_T")

# Of what triggers a snapshot, the part that stays in the log: a follower that lags a little needs no snapshot.
_KEPT_PART = 10


class SnapshotKeeper:
    """Counts what is applied; at most one snapshot is on its way to the disk."""

    def __init__(
        self,
        storage: Storage,
        *,
        entries: int,
        log_bytes: int,
        saved: Callable[[int], None],
        found: Callable[[Snapshot], None],
    ) -> None:
        """`entries`, `log_bytes`: of the log, after which a snapshot is due. Called in the event loop:

        `saved(index)`: a snapshot is durable, and the log may forget the entries up to `index`. `found(snapshot)`: the
        newest durable one, which was asked for.
        """
        self._storage = storage
        self._entries_max = entries
        self._log_bytes_max = log_bytes
        self._saved = saved
        self._found = found
        self._bytes_of_last = 0
        self._entries = 0
        self._log_bytes = 0
        # Of the newest applied entries.
        self._sizes: deque[int] = deque(maxlen=entries // _KEPT_PART)
        # Of the newest one.
        self.index = 0
        # One that is on its way to the disk; its result is whether there was space.
        self.saving: asyncio.Task[bool] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raft-snapshot")

    @property
    def is_due(self) -> bool:
        is_much = self._entries >= self._entries_max or self._log_bytes >= self._log_bytes_max
        return is_much and self._log_bytes >= self._bytes_of_last and self.saving is None

    def applied(self, entry: Entry) -> None:
        self._entries += 1
        self._log_bytes += len(entry.data)
        self._sizes.append(len(entry.data))

    def restored(self, snapshot: Snapshot) -> None:
        """The state machine has come from a snapshot: counting begins anew."""
        self.index = snapshot.last_included_index
        self._sizes.clear()
        self._begin_counting(len(snapshot.data))

    def take(self, machine: StateMachine, last_applied: LogBase, configuration: bytes) -> asyncio.Task[bool]:
        """Of the state as it is, after that entry; none other may be on its way to the disk."""
        assert self.saving is None
        started = time.perf_counter()
        data = machine.snapshot()
        paused_ms = round((time.perf_counter() - started) * 1_000, 1)
        log.info("a snapshot is taken", index=last_applied.index, bytes=len(data), paused_ms=paused_ms)
        self._begin_counting(len(data))
        snapshot = Snapshot(last_applied.index, last_applied.term, configuration, data)
        self.saving = self._start(self._save(snapshot, last_applied.index - self._count_kept()))
        return self.saving

    def find(self) -> None:
        """Reads the newest durable one for `found`."""
        self._start(self._find())

    async def stop(self) -> None:
        """Lets what has begun end, without telling."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._thread.shutdown)

    async def _save(self, snapshot: Snapshot, forgettable_index: int) -> bool:
        try:
            await self._in_thread(self._storage.save_snapshot, snapshot)
        except StorageFullError as error:
            log.warning("there is no space for a snapshot", why=str(error))
            return False
        else:
            self.index = max(self.index, snapshot.last_included_index)
            self._saved(forgettable_index)
            return True
        finally:
            self.saving = None

    async def _find(self) -> None:
        self._found(await self._in_thread(self._storage.read_snapshot))

    async def _in_thread(self, action: Callable[..., Any], *what: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, action, *what)
        except StorageFullError:
            raise
        except Exception as error:  # noqa: BLE001 nobody knows what the disk holds
            end_process(DISK_FAILED, "a snapshot cannot be written or read", error)

    def _start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _begin_counting(self, bytes_of_last: int) -> None:
        self._bytes_of_last = bytes_of_last
        self._entries = self._log_bytes = 0

    def _count_kept(self) -> int:
        kept_bytes, count = 0, 0
        for size in reversed(self._sizes):
            kept_bytes += size
            if kept_bytes > self._log_bytes_max // _KEPT_PART:
                break
            count += 1
        return count
