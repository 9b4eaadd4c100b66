"""Nodes come, go and move while commands flow: real files and streams, in one event loop."""

import asyncio
import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.journal import Journal
from tests.support.raft_cluster import Member, RaftCluster, free_ports, raft_cluster
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.core.configuration import Remove
from utils.raft.core.ready import Role
from utils.raft.errors import MembershipRefusedError, NotLeaderError, OutcomeUnknownError, ProposalDroppedError
from utils.rpc.channel import Channel
from utils.rpc.errors import FailedPrecondition, InvalidArgument

_TIMEOUT_S = 20.0
_numbers = itertools.count()


class Traffic:
    """Commands that follow each other for as long as it lasts; what was acknowledged is in every journal in the end."""

    def __init__(self, cluster: RaftCluster[Journal]) -> None:
        self._cluster = cluster
        self.acknowledged: list[bytes] = []

    async def run(self) -> None:
        while True:
            leader = await self._cluster.leader()
            command = b"%d" % next(_numbers)
            with contextlib.suppress(NotLeaderError, OutcomeUnknownError, ProposalDroppedError):
                await leader.node.propose(command, timeout_s=_TIMEOUT_S)
                self.acknowledged.append(command)
            await asyncio.sleep(0.001)

    async def flows(self) -> None:
        """Waits until some more is acknowledged."""
        enough = len(self.acknowledged) + 5
        async with asyncio.timeout(_TIMEOUT_S):
            while len(self.acknowledged) < enough:  # noqa: ASYNC110 a client's list
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def traffic_on(cluster: RaftCluster[Journal]) -> AsyncIterator[Traffic]:
    traffic = Traffic(cluster)
    flowing = asyncio.create_task(traffic.run())
    try:
        yield traffic
    finally:
        flowing.cancel()
        await asyncio.gather(flowing, return_exceptions=True)
    leader = await cluster.leader()
    await leader.node.read_barrier(timeout_s=_TIMEOUT_S)
    await cluster.applied(leader.node.status.last_applied)
    assert set(traffic.acknowledged) <= set(leader.machine.commands)
    assert len(leader.machine.commands) == len(set(leader.machine.commands))
    for member in cluster.members.values():
        assert member.machine.commands == leader.machine.commands


def voters(member: Member[Journal]) -> set[str]:
    return {other.node_id for other in member.node.members if other.is_voter}


def follower(cluster: RaftCluster[Journal], leader: Member[Journal]) -> Member[Journal]:
    return next(member for member in cluster.members.values() if member is not leader)


async def remove(cluster: RaftCluster[Journal], node_id: str) -> None:
    leader = await cluster.leader()
    await leader.node.change_membership(Remove(node_id), timeout_s=_TIMEOUT_S)


async def test_a_fourth_node_joins_by_one_address_while_commands_flow(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal, snapshot_entries=10) as cluster, traffic_on(cluster) as traffic:
        leader = await cluster.leader()
        await traffic.flows()
        # Any member's address will do.
        cluster.add_config("node_4", tmp_path, join=follower(cluster, leader).address)
        fourth = await cluster.start("node_4")
        everybody = {"node_1", "node_2", "node_3", "node_4"}
        await fourth.until(lambda: voters(fourth) == everybody)
        await traffic.flows()
        # It knows where the others are, and counts: without two of them there is no majority of four.
        assert {member.node_id: member.address for member in fourth.node.members} == {
            node_id: config.peers[node_id] for node_id, config in cluster.configs.items()
        }
        await cluster.stop(follower(cluster, leader))
        await traffic.flows()


async def test_a_leader_that_is_removed_hands_over_and_takes_no_further_part(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        old = await cluster.leader()
        async with traffic_on(cluster) as traffic:
            await traffic.flows()
            await remove(cluster, old.config.node_id)
            await old.until(lambda: old.node.status.role is not Role.LEADER)
            new = await cluster.leader()
            assert new is not old
            await new.until(lambda: voters(new) == set(cluster.configs) - {old.config.node_id})
            await traffic.flows()
            term = new.node.status.term
            # Long enough for it to start elections, if it did.
            await asyncio.sleep(3 * old.config.election_timeout_ms / 1_000)
            assert (old.node.status.role, old.node.status.term) == (Role.FOLLOWER, term - 1)
            assert new.node.status.term == term
            await cluster.stop(old)


async def test_a_node_that_lost_its_disk_is_replaced_by_itself(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal, snapshot_entries=10) as cluster, traffic_on(cluster) as traffic:
        leader = await cluster.leader()
        lost = follower(cluster, leader)
        node_id = lost.config.node_id
        await traffic.flows()
        await cluster.stop(lost)
        shutil.rmtree(lost.config.data_dir)
        cluster.configs[node_id] = dataclasses.replace(lost.config, join=(leader.address,))
        again = await cluster.start(node_id)
        # The cluster still counts on what it has forgotten: it must not vote, and is not let in.
        await refused_to_join(leader, node_id, again.address)
        await traffic.flows()
        assert (again.node.status.term, again.node.status.last_log_index) == (0, 0)
        await remove(cluster, node_id)
        await again.until(lambda: node_id in voters(again))
        await traffic.flows()


async def refused_to_join(leader: Member[Journal], node_id: str, address: str) -> None:
    channel = Channel(leader.address)
    stub = raft_pb2_grpc.RaftAdminServiceStub(channel)  # type: ignore[arg-type]
    request = raft_pb2.JoinRequest(cluster_id="bookstore", node_id=node_id, address=address)
    with pytest.raises(FailedPrecondition, match="remove it first"):
        await stub.Join(request, timeout=_TIMEOUT_S)
    request.cluster_id = "another"
    with pytest.raises(InvalidArgument, match="not of 'another'"):
        await stub.Join(request, timeout=_TIMEOUT_S)
    await channel.close()


async def test_after_a_restart_of_everything_the_log_says_who_belongs_and_not_the_environment(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        async with traffic_on(cluster) as traffic:
            await traffic.flows()
            cluster.add_config("node_4", tmp_path, join=cluster.configs["node_2"].peers["node_2"])
            fourth = await cluster.start("node_4")
            await fourth.until(lambda: "node_4" in voters(fourth))
            await remove(cluster, "node_1")
            await cluster.stop(cluster.members["node_1"])
            await traffic.flows()
        await restart(cluster, {"node_2", "node_3", "node_4"})
        async with traffic_on(cluster) as traffic:
            leader = await cluster.leader()
            assert voters(leader) == {"node_2", "node_3", "node_4"}
            await traffic.flows()
            # The fourth counts, though the environment of the others never heard of it.
            await cluster.stop(next(cluster.members[node_id] for node_id in ("node_2", "node_3")))
            await traffic.flows()


async def restart(cluster: RaftCluster[Journal], node_ids: set[str]) -> None:
    for member in list(cluster.members.values()):
        await cluster.stop(member)
    for node_id in sorted(node_ids):
        await cluster.start(node_id)


async def test_a_snapshot_brings_who_belongs_to_the_cluster(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        cluster.add_config("node_4", tmp_path, join=leader.address)
        fourth = await cluster.start("node_4")
        await fourth.until(lambda: "node_4" in voters(fourth))
        index, _ = await leader.node.propose(b"one", timeout_s=_TIMEOUT_S)
        await cluster.applied(index)
        for member in cluster.members.values():
            index = await member.node.take_snapshot(timeout_s=_TIMEOUT_S)
            assert member.node.snapshot_index == index == member.node.status.last_applied
        await restart(cluster, set(cluster.configs))
        leader = await cluster.leader()
        assert voters(leader) == set(cluster.configs)


async def test_a_node_that_comes_back_with_another_address_is_found_there(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster, traffic_on(cluster) as traffic:
        leader = await cluster.leader()
        moving = follower(cluster, leader)
        node_id = moving.config.node_id
        await cluster.stop(moving)
        [port] = free_ports(1)
        peers = moving.config.peers | {node_id: f"127.0.0.1:{port}"}
        cluster.configs[node_id] = dataclasses.replace(moving.config, port=port, peers=peers)
        moved = await cluster.start(node_id)
        await leader.until(lambda: address_of(leader, node_id) == moved.address)
        await traffic.flows()
        # Whoever asks another node is sent there.
        await leader.node.transfer_leadership(node_id, timeout_s=_TIMEOUT_S)
        third = next(member for member in cluster.members.values() if member not in (leader, moved))
        await third.until(lambda: third.node.status.leader_address == moved.address)


def address_of(member: Member[Journal], node_id: str) -> str:
    return next(other.address for other in member.node.members if other.node_id == node_id)


async def test_all_nodes_may_move_at_once(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        # So that addresses are in the log.
        cluster.add_config("node_4", tmp_path, join=leader.address)
        fourth = await cluster.start("node_4")
        await fourth.until(lambda: "node_4" in voters(fourth))
        await remove(cluster, "node_4")
        for member in list(cluster.members.values()):
            await cluster.stop(member)
        del cluster.configs["node_4"]
        ports = dict(zip(cluster.configs, free_ports(3), strict=True))
        peers = {node_id: f"127.0.0.1:{port}" for node_id, port in ports.items()}
        for node_id, port in ports.items():
            cluster.configs[node_id] = dataclasses.replace(cluster.configs[node_id], port=port, peers=peers)
            await cluster.start(node_id)
        async with traffic_on(cluster) as traffic:
            leader = await cluster.leader()
            await leader.until(lambda: {member.node_id: member.address for member in leader.node.members} == peers)
            await traffic.flows()


async def test_changes_of_two_operators_follow_each_other(tmp_path: Path) -> None:
    node_ids = ("node_1", "node_2", "node_3", "node_4", "node_5")
    async with raft_cluster(tmp_path, Journal, node_ids=node_ids) as cluster:
        leader = await cluster.leader()
        first, second, *_ = (node_id for node_id in node_ids if node_id != leader.config.node_id)
        await asyncio.gather(
            leader.node.change_membership(Remove(first), timeout_s=_TIMEOUT_S),
            leader.node.change_membership(Remove(second), timeout_s=_TIMEOUT_S),
        )
        assert voters(leader) == set(node_ids) - {first, second}
        with pytest.raises(NotLeaderError):
            await follower(cluster, leader).node.change_membership(Remove(first), timeout_s=_TIMEOUT_S)


async def test_the_last_voter_cannot_be_removed(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal, node_ids=("node_1",)) as cluster:
        with pytest.raises(MembershipRefusedError):
            await remove(cluster, "node_1")
