"""Nothing is said before it is durable, and what comes during one sync shares the next."""

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from utils.raft.core.messages import Entry, EntryKind, LogBase, Message, PreVoteResponse, Snapshot
from utils.raft.core.ready import Compaction, HardState, Ready
from utils.raft.io.memory import MemoryStorage
from utils.raft.io.writer import LogWriter

_MESSAGE = Message("node_1", "node_2", PreVoteResponse(1, granted=True))


class SlowStorage(MemoryStorage):
    """Each write waits to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[HardState | None, list[int]]] = []
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self.begun.release()
        self.let.acquire()
        self.writes.append((hard_state, [entry.index for entry in entries]))
        super().append(hard_state, entries)


def _ready(index: int, hard_state: HardState | None = None) -> Ready:
    return Ready(hard_state=hard_state, entries=(Entry(index, 1, EntryKind.COMMAND, b""),), messages=(_MESSAGE,))


async def test_what_comes_during_a_write_shares_the_next_one() -> None:
    storage = SlowStorage()
    written: asyncio.Queue[Ready] = asyncio.Queue()
    writer = LogWriter(storage, written.put_nowait, lambda _: None)
    writer.start()
    readies = [_ready(1, HardState(1)), _ready(2), _ready(3, HardState(2)), _ready(4, HardState(3)), _ready(5)]
    # One that only has messages still waits for the promises before it.
    readies.append(Ready(messages=(_MESSAGE,)))
    writer.put(readies[0])
    await asyncio.to_thread(storage.begun.acquire)
    for ready in readies[1:]:
        writer.put(ready)
    assert written.empty()
    idle = [writer.is_idle]
    storage.let.release()
    assert await written.get() is readies[0]
    await asyncio.to_thread(storage.begun.acquire)
    assert written.empty()
    storage.let.release()
    assert [await written.get() for _ in readies[1:]] == readies[1:]
    assert storage.writes == [(HardState(1), [1]), (HardState(3), [2, 3, 4, 5])]
    assert [*idle, writer.is_idle] == [False, True]
    await writer.stop()


class NotingStorage(MemoryStorage):
    """Notes what reaches it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[object] = []

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self.noted.append((hard_state, [entry.index for entry in entries]))

    def begin_log(self, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self.noted.append((base, hard_state, [entry.index for entry in entries]))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self.noted.append(snapshot)


async def test_a_log_begins_anew_in_its_turn_and_after_its_snapshot() -> None:
    storage = NotingStorage()
    written: asyncio.Queue[Ready] = asyncio.Queue()
    writer = LogWriter(storage, written.put_nowait, lambda _: None)
    snapshot, base = Snapshot(9, 1), LogBase(9, 1)
    kept = (Entry(10, 1, EntryKind.COMMAND, b""),)
    readies = [
        _ready(1, HardState(1)),
        Ready(snapshot=snapshot, compaction=Compaction(base), hard_state=HardState(2)),
        Ready(compaction=Compaction(base, kept), entries=(Entry(11, 1, EntryKind.COMMAND, b""),)),
        _ready(12, HardState(3)),
    ]
    for ready in readies:
        writer.put(ready)
    writer.start()
    assert [await asyncio.wait_for(written.get(), 10) for _ in readies] == readies
    assert storage.noted == [
        (HardState(1), [1]),
        snapshot,
        (base, HardState(2), []),
        (base, HardState(3), [10, 11, 12]),
    ]
    await writer.stop()


async def test_a_full_disk_is_told_and_the_same_is_written_when_there_is_space() -> None:
    storage = MemoryStorage()
    storage.is_full = True
    told: asyncio.Queue[bool] = asyncio.Queue()
    written: asyncio.Queue[Ready] = asyncio.Queue()
    writer = LogWriter(storage, written.put_nowait, told.put_nowait)
    writer.start()
    writer.put(_ready(1, HardState(1)))
    assert await told.get() is True
    assert written.empty()
    storage.is_full = False
    assert await told.get() is False
    assert await written.get() == _ready(1, HardState(1))
    assert storage.hard_state == HardState(1)
    assert told.empty()
    await writer.stop()


async def test_stopping_lets_a_write_end_and_begins_no_other() -> None:
    storage = SlowStorage()
    writer = LogWriter(storage, lambda _: None, lambda _: None)
    writer.start()
    writer.put(_ready(1))
    await asyncio.to_thread(storage.begun.acquire)
    writer.put(_ready(2))
    stopping = asyncio.create_task(writer.stop())
    storage.let.release()
    await stopping
    assert storage.writes == [(None, [1])]


_FAILING_DISK = """
import asyncio, os, sys
from pathlib import Path
from utils.raft.core.messages import Entry, EntryKind
from utils.raft.core.ready import HardState, Ready
from utils.raft.io.storage import FileStorage
from utils.raft.io.writer import LogWriter

def fail(*arguments):
    raise OSError(int(sys.argv[3]), "the disk says so")

async def main():
    storage = FileStorage(Path(sys.argv[1]), cluster_id="c", node_id="n")
    storage.open()
    setattr(os, sys.argv[2], fail)
    writer = LogWriter(storage, lambda ready: print("acknowledged", flush=True), lambda full: None)
    writer.start()
    writer.put(Ready(hard_state=HardState(1), entries=(Entry(1, 1, EntryKind.COMMAND, b""),)))
    await asyncio.sleep(30)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("call", "number"), [("fdatasync", errno.EIO), ("fdatasync", errno.ENOSPC), ("pwrite", errno.EIO)]
)
def test_a_failed_write_or_sync_ends_the_process_before_anything_is_acknowledged(
    tmp_path: Path, call: str, number: int
) -> None:
    """A sync that finds no space counts among them: what was written before is in doubt, too."""
    command = [sys.executable, "-c", _FAILING_DISK, str(tmp_path), call, str(number)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 74
    assert "acknowledged" not in ended.stdout
    assert "the log cannot be written" in ended.stdout + ended.stderr
