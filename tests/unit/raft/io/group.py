"""Nodes on a network in memory, each with a disk that stays."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from tests.support.journal import Journal
from utils.raft.config import RaftConfig
from utils.raft.io.memory import MemoryNetwork, MemoryStorage
from utils.raft.io.node import RaftNode

WAIT_S_MAX = 20.0
THREE = {"node_1": "host_1:1", "node_2": "host_2:1", "node_3": "host_3:1"}


class Group:
    def __init__(self, peers: dict[str, str], settings: dict[str, int]) -> None:
        self.network = MemoryNetwork()
        self.disks = {node_id: MemoryStorage() for node_id in peers}
        self.machines: dict[str, Journal] = {}
        self.nodes: dict[str, RaftNode] = {}
        self._peers = peers
        self._settings = {"election_timeout_ms": 150, "heartbeat_interval_ms": 30, **settings}

    async def start(self, node_id: str) -> RaftNode:
        config = RaftConfig(node_id=node_id, port=1, peers=self._peers, data_dir="", **self._settings)  # type: ignore[arg-type]
        self.machines[node_id] = Journal()
        transport = self.network.transport(node_id)
        node = RaftNode(config, self.machines[node_id], storage=self.disks[node_id], transport=transport)
        self.network.connect(node_id, node.receive)
        await node.start()
        self.nodes[node_id] = node
        return node

    async def leader(self) -> RaftNode:
        async with asyncio.timeout(WAIT_S_MAX):
            while not (ready := [node for node in self.nodes.values() if node.status.ready]):
                changes = [asyncio.create_task(node.changed()) for node in self.nodes.values()]
                await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
                for change in changes:
                    change.cancel()
        return max(ready, key=lambda node: node.status.term)

    def others(self, leader: RaftNode) -> list[RaftNode]:
        return [node for node in self.nodes.values() if node is not leader]

    async def applied(self, node: RaftNode, index: int) -> None:
        async with asyncio.timeout(WAIT_S_MAX):
            while node.status.last_applied < index:  # noqa: ASYNC110 applying is no change of status
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def group_of(peers: dict[str, str], **settings: int) -> AsyncIterator[Group]:
    """`settings` replace fields of RaftConfig."""
    group = Group(peers, settings)
    try:
        for node_id in peers:
            await group.start(node_id)
        yield group
    finally:
        for node in group.nodes.values():
            await node.stop()


async def until(node: RaftNode, condition: Callable[[], bool]) -> None:
    """It is looked at whenever the node's role, term, leader or readiness changes."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not condition():
            await node.changed()
