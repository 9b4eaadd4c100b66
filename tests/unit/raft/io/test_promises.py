"""No promise leaves a node before its disk has it (paper, figure 2: "updated on stable storage before responding")."""

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from tests.support.journal import Journal
from utils.raft.config import RaftConfig
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    Entry,
    EntryKind,
    Message,
    RequestVoteRequest,
    RequestVoteResponse,
)
from utils.raft.core.ready import HardState
from utils.raft.io.addresses import Addresses
from utils.raft.io.memory import MemoryStorage
from utils.raft.io.node import RaftNode

_PEERS = {f"node_{number}": f"host_{number}:1" for number in (1, 2, 3)}
# The test plays the peers; the node itself must not get impatient.
_NEVER_MS = 60_000


class HeldStorage(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self.begun.release()
        self.let.acquire()
        super().append(hard_state, entries)


class Post:
    """A transport that keeps what the node sends."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue()

    def start(self, addresses: Addresses) -> None:
        """There is nothing to open."""

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.sent.put_nowait(message)

    def heard(self, peer: str) -> None:
        """Nobody is ever silent."""

    def keep(self, peers: Collection[str]) -> None:
        """There is nothing to close."""

    async def close(self) -> None:
        """There is nothing to close."""


class Follower:
    """node_1, its disk and what it sends."""

    def __init__(self) -> None:
        self.disk, self.post = HeldStorage(), Post()
        config = RaftConfig(node_id="node_1", port=1, peers=_PEERS, data_dir="", election_timeout_ms=_NEVER_MS)
        self.node = RaftNode(config, Journal(), storage=self.disk, transport=self.post)

    async def gets(self, body: Body) -> None:
        """Delivers it, and lets the node do all that it can without its disk."""
        self.node.receive([Message("node_2", "node_1", body)])
        for _ in range(20):
            await asyncio.sleep(0)

    async def is_writing(self) -> None:
        await asyncio.to_thread(self.disk.begun.acquire)

    async def sends(self) -> Body:
        return (await asyncio.wait_for(self.post.sent.get(), 10)).body


@pytest.fixture
async def follower() -> AsyncIterator[Follower]:
    follower = Follower()
    await follower.node.start()
    yield follower
    for _ in range(5):
        follower.disk.let.release()
    await follower.node.stop()


async def test_a_vote_is_told_when_it_is_durable(follower: Follower) -> None:
    await follower.gets(RequestVoteRequest(5, 0, 0))
    await follower.is_writing()
    # Asked again meanwhile there is nothing new to write, and still nothing to tell.
    await follower.gets(RequestVoteRequest(5, 0, 0))
    assert follower.post.sent.empty()
    follower.disk.let.release()
    assert await follower.sends() == RequestVoteResponse(5, granted=True)
    assert follower.disk.hard_state == HardState(5, "node_2")
    assert await follower.sends() == RequestVoteResponse(5, granted=True)


async def test_entries_are_acknowledged_when_they_are_durable(follower: Follower) -> None:
    request = AppendEntriesRequest(
        1, 0, 0, (Entry(1, 1, EntryKind.NO_OP, b""), Entry(2, 1, EntryKind.COMMAND, b"a")), 0
    )
    await follower.gets(request)
    await follower.is_writing()
    # The same again, and then more, while the first are on their way to the disk.
    await follower.gets(request)
    await follower.gets(AppendEntriesRequest(1, 2, 1, (Entry(3, 1, EntryKind.COMMAND, b"b"),), 0))
    assert follower.post.sent.empty()
    follower.disk.let.release()
    first = await follower.sends()
    assert isinstance(first, AppendEntriesResponse)
    assert (first.success, first.match_index) == (True, 2)
    await follower.is_writing()
    # The second write holds what was answered to the repetition, too: nothing overtakes.
    assert follower.post.sent.empty()
    follower.disk.let.release()
    answers = [await follower.sends(), await follower.sends()]
    assert [answer.match_index for answer in answers if isinstance(answer, AppendEntriesResponse)] == [2, 3]
    assert [entry.index for entry in follower.disk.entries] == [1, 2, 3]
