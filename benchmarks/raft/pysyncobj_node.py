"""One node of pysyncobj, with its proposers inside it: a command's callback gives the next one.

Its journal is on. It writes the journal through a memory map that it never syncs, so it is fast where the others wait
for the disk, and not safe against power cuts.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated

from benchmarks.raft.load import Load, key_of
from benchmarks.raft.worker import obey

_POLL_S = 0.001
# What leads to the shortest ticks and the fewest waits; the times of elections are its defaults.
_TUNED = {
    "autoTickPeriod": 0.001,
    "appendEntriesPeriod": 0.001,
    "commandsWaitLeader": False,
    "connectionRetryTime": 0.1,
    "appendEntriesBatchSizeBytes": 2**19,
    "sendBufferSize": 2**20,
    "recvBufferSize": 2**20,
}


class NotCommittedError(Exception):
    """pysyncobj says why, by a number."""


class LatestCommands(SyncObj):  # type: ignore[misc]
    """The newest command of each key."""

    def __init__(self, own: str, others: list[str], **settings: Any) -> None:
        self._latest: dict[bytes, bytes] = {}
        super().__init__(own, others, SyncObjConf(**_TUNED, **settings))

    @replicated  # type: ignore[untyped-decorator]
    def put(self, command: bytes) -> None:
        self._latest[key_of(command)] = command


class PySyncObjNode:
    def __init__(self, replica: LatestCommands) -> None:
        self._replica = replica

    async def settle(self) -> None:
        while not (self._replica.isReady() and self._replica._getLeader() is not None):  # noqa: ASYNC110, SLF001
            await asyncio.sleep(_POLL_S)

    async def commit(self) -> None:
        while True:
            if self._replica._isLeader():  # noqa: SLF001
                try:
                    await self.load(1, Load(count=1))
                except NotCommittedError:
                    continue
                return
            await asyncio.sleep(_POLL_S)

    async def load(self, in_flight: int, load: Load) -> None:
        """The callbacks run in pysyncobj's own thread: nothing waits for ours until the end."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        left = in_flight

        def finish(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def propose() -> None:
            nonlocal left
            if (begun := load.begin()) is None:
                left -= 1
                if left == 0:
                    loop.call_soon_threadsafe(finish, None)
                return
            command, began_at = begun
            self._replica.put(command, callback=lambda _, reason: committed(reason, began_at))

        def committed(reason: int, began_at: float) -> None:
            if reason != FAIL_REASON.SUCCESS:
                loop.call_soon_threadsafe(finish, NotCommittedError(reason))
                return
            load.end(began_at)
            propose()

        for _ in range(in_flight):
            propose()
        await done


async def main() -> None:
    """`own address`, `addresses of the others`, `directory`, `keyword settings as JSON`."""
    own, others, directory, settings = sys.argv[1:]
    replica = LatestCommands(
        own,
        others.split(","),
        journalFile=f"{directory}/journal",
        fullDumpFile=f"{directory}/dump",
        **json.loads(settings),
    )
    await obey(PySyncObjNode(replica))
    replica.destroy_synchronous()


if __name__ == "__main__":
    uvloop.run(main())
