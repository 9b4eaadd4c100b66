"""A state machine that follows the log in etcd: how far it is, and who waits for it to be further."""

import asyncio
import heapq
import itertools
from typing import Any

from utils.etcd.client import EtcdClient
from utils.etcd.layout import Layout, View
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.raft.state_machine import StateMachine

log = get_logger()

CALL_TIMEOUT_S = 5.0


class LogLostError(Exception):
    """etcd's log is shorter than what this node has applied: another etcd, or one that was put back to a backup."""

    def __init__(self, last_applied: int, head: int) -> None:
        super().__init__(f"this node has applied {last_applied} commands, and etcd's log has only {head}")


class Replica:
    """Applies in the order of the log, whoever has appended."""

    def __init__(self, client: EtcdClient, layout: Layout, machine: StateMachine) -> None:
        self._client = client
        self._layout = layout
        self.machine = machine
        self.last_applied = 0
        # Since the snapshot that this node has taken or read last.
        self.entries_since_snapshot = 0
        self.bytes_since_snapshot = 0
        self.snapshot_bytes = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def look(self) -> View:
        """What is there now, linearizably; applies what of it is new. More may be there if `head` is not applied then.

        Raises EtcdError; LogLostError.
        """
        response = await self._client.txn(self._layout.look(self.last_applied), timeout_s=CALL_TIMEOUT_S)
        view = self._layout.view(response)
        if view.head < self.last_applied:
            raise LogLostError(self.last_applied, view.head)
        if view.head > self.last_applied and not self._goes_on(view):
            await self._restore(view)
        else:
            for index, entry in view.entries:
                self.apply(index, entry.commands)
        return view

    def apply(self, index: int, commands: tuple[bytes, ...]) -> list[Any]:
        """What the machine returns for each; the first has this index."""
        assert index == self.last_applied + 1, f"{index} came after {self.last_applied}"
        results = [self.machine.apply(number, command) for number, command in enumerate(commands, index)]
        count("raft.entries_applied", len(commands))
        self.entries_since_snapshot += len(commands)
        self.bytes_since_snapshot += sum(map(len, commands))
        self._advance(self.last_applied + len(commands))
        return results

    async def applied(self, index: int) -> None:
        """Returns once the command at `index` is applied."""
        if index > self.last_applied:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (index, next(self._numbers), future))
            await future

    def snapshot_taken(self, size_bytes: int) -> None:
        self.entries_since_snapshot = self.bytes_since_snapshot = 0
        self.snapshot_bytes = size_bytes

    def _goes_on(self, view: View) -> bool:
        """Else the log's beginning is gone: the snapshot stands for it."""
        return bool(view.entries) and view.entries[0][0] == self.last_applied + 1

    async def _restore(self, view: View) -> None:
        pointer = view.snapshot
        assert pointer is not None, f"the log goes on after {self.last_applied}, and there is no snapshot"
        parts = []
        for number in range(pointer.chunks):
            response = await self._client.txn(self._layout.read_chunk(pointer, number), timeout_s=CALL_TIMEOUT_S)
            part = self._layout.chunk(response)
            if part is None:
                # The next look finds the newer one.
                return
            parts.append(part)
        data = b"".join(parts)
        self.machine.restore(data)
        log.info("the snapshot was read", index=pointer.last_included_index, size_bytes=len(data))
        self.snapshot_taken(len(data))
        self._advance(pointer.last_included_index)

    def _advance(self, index: int) -> None:
        self.last_applied = index
        while self._waiting and self._waiting[0][0] <= index:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
