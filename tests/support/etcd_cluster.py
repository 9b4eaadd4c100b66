"""What tests/support/raft_cluster.py is, with the log in etcd: `cluster` takes the engine, and gives the same verbs."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from tests.support.etcd import EtcdMembers, Links, etcd_members
from tests.support.raft_cluster import Member, RaftCluster, raft_cluster, running
from utils.etcd.config import EtcdConfig
from utils.etcd.node import EtcdNode
from utils.raft.config import RaftConfig
from utils.raft.io.node import RaftNode
from utils.raft.state_machine import StateMachine

_M = TypeVar("_M", bound=StateMachine)
# The shortest that etcd grants with its usual election timeout, so that tests need not wait for long.
LEASE_S = 2


class EtcdMember(Member[_M]):
    links: Links

    def _make_node(self, config: RaftConfig, machine: StateMachine) -> RaftNode:
        assert isinstance(config, EtcdConfig)
        # What tests of both engines ask of a node, both have.
        return cast("RaftNode", EtcdNode(config, machine))


class EtcdCluster(RaftCluster[_M]):
    """Its nodes hear of each other through etcd alone."""

    def __init__(
        self,
        directory: Path,
        machine_factory: Callable[[], _M],
        node_ids: Sequence[str],
        add_services: Callable[[Member[_M]], None],
        etcd: EtcdMembers,
    ) -> None:
        super().__init__(directory, machine_factory, node_ids, add_services)
        self.etcd = etcd
        self._links: dict[str, Links] = {}

    async def start(self, node_id: str) -> Member[_M]:
        links = self._links.setdefault(node_id, Links(self.etcd.endpoints))
        if not links.endpoints:
            await links.start()
        settings: dict[str, Any] = {
            field.name: getattr(self.configs[node_id], field.name) for field in dataclasses.fields(RaftConfig)
        }
        config = EtcdConfig(**settings, etcd_endpoints=links.endpoints, etcd_lease_s=LEASE_S)
        member: EtcdMember[_M] = EtcdMember(config, self._machine_factory(), self._add_services)
        member.links = links
        await member.node.start()
        await member.server.start()
        self.members[node_id] = member
        return member

    def partition(self, *groups: Sequence[Member[_M]]) -> None:
        """Only the largest group reaches etcd, which is on the side of a majority."""
        largest = max(groups, key=len)
        for group in groups:
            for member in group:
                if group is not largest:
                    self.links(member).cut()

    def heal(self) -> None:
        for links in self._links.values():
            links.heal()

    def links(self, member: Member[_M]) -> Links:
        """By which this node reaches etcd's members."""
        return self._links[member.config.node_id]

    async def close(self) -> None:
        await asyncio.gather(*(links.close() for links in self._links.values()))

    def _followed_leader(self) -> Member[_M] | None:
        statuses = [member.node.status for member in self.members.values()]
        for member in self.members.values():
            status = member.node.status
            known = sum((other.term, other.leader_id) == (status.term, status.node_id) for other in statuses)
            if status.ready and known > len(self.configs) // 2:
                return member
        return None


@contextlib.asynccontextmanager
async def etcd_cluster(
    directory: Path,
    machine_factory: Callable[[], _M],
    *,
    node_ids: Sequence[str] = ("node_1", "node_2", "node_3"),
    add_services: Callable[[Member[_M]], None] = lambda _: None,
    **settings: int,
) -> AsyncIterator[EtcdCluster[_M]]:
    """Three members of etcd, and every node. `settings` replace fields of RaftConfig."""
    async with etcd_members(directory) as etcd:
        cluster = EtcdCluster(directory, machine_factory, node_ids, add_services, etcd)
        async with running(cluster, settings):
            yield cluster
        await cluster.close()


def cluster(
    engine: str, directory: Path, machine_factory: Callable[[], _M], **arguments: Any
) -> contextlib.AbstractAsyncContextManager[RaftCluster[_M]]:
    """On `engine`: raft or etcd."""
    make = etcd_cluster if engine == "etcd" else raft_cluster
    return make(directory, machine_factory, **arguments)
