"""Group commit: while one write is synced, what comes meanwhile gathers, and the next write takes it all.

The sync runs in a thread. On the event loop it would be cheaper when the disk is idle (a hand-over costs as much as a
sync, 0.3 ms), but three nodes on one disk queue up to 16 ms behind each other, and heartbeats must not.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from utils.observe.logging import get_logger
from utils.raft.core.ready import Ready
from utils.raft.io.failure import DISK_FAILED, INVARIANT_BROKEN, end_process
from utils.raft.io.log_file import StorageFullError
from utils.raft.io.storage import Storage
from utils.rpc.outbox import Outbox

log = get_logger()

_FULL_RETRY_S = 0.5


class LogWriter:
    """Writes Readies in their order, and reports each once it is durable."""

    def __init__(self, storage: Storage, written: Callable[[Ready], None], full: Callable[[bool], None]) -> None:
        """`written(ready)`: it is durable. `full(True)`: the disk is full, and nothing goes on until `full(False)`."""
        self._storage = storage
        self._written = written
        self._full = full
        self._outbox: Outbox[Ready] = Outbox()
        self._writing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raft-log")
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Everything is durable."""
        return not self._writing and not len(self._outbox)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def put(self, ready: Ready) -> None:
        self._outbox.put(ready)

    async def stop(self) -> None:
        """Lets a write that has begun end; what waits behind it is not written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        try:
            await self._write_for_ever()
        except Exception as error:  # noqa: BLE001 not the disk: that is seen to in _do
            end_process(INVARIANT_BROKEN, "the writer of the log cannot go on", error)

    async def _write_for_ever(self) -> None:
        while True:
            readies = await self._outbox.take()
            self._writing = True
            for group in _groups(readies):
                await self._write(group)
                for ready in group:
                    self._written(ready)
            self._writing = False

    async def _write(self, group: Sequence[Ready]) -> None:
        """Readies that share one write; only the first may bring a snapshot, or a log that begins anew."""
        first = group[0]
        hard_state = next((ready.hard_state for ready in reversed(group) if ready.hard_state), None)
        entries = [entry for ready in group for entry in ready.entries]
        if first.snapshot is not None:
            await self._do(self._storage.save_snapshot, first.snapshot)
        if first.compaction is not None:
            kept = (*first.compaction.entries, *entries)
            await self._do(self._storage.begin_log, first.compaction.base, hard_state, kept)
        elif hard_state is not None or entries:
            await self._do(self._storage.append, hard_state, entries)

    async def _do(self, write: Callable[..., None], *what: Any) -> None:
        loop = asyncio.get_running_loop()
        is_full = False
        while True:
            try:
                await loop.run_in_executor(self._thread, write, *what)
            except StorageFullError as error:
                if not is_full:
                    is_full = True
                    log.warning("the disk is full: this node takes no part until there is space", why=str(error))
                    self._full(True)
                await asyncio.sleep(_FULL_RETRY_S)
            except Exception as error:  # noqa: BLE001 nobody knows what the disk holds
                end_process(DISK_FAILED, "the log cannot be written", error)
            else:
                if is_full:
                    log.info("the disk has space again")
                    self._full(False)
                return


def _groups(readies: Sequence[Ready]) -> Iterator[list[Ready]]:
    """In their order, each log that begins anew at the head of a group."""
    group: list[Ready] = []
    for ready in readies:
        if ready.compaction is not None and group:
            yield group
            group = []
        group.append(ready)
    yield group
