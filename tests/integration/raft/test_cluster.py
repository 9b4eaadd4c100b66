"""Three nodes on loopback with real files and streams, in one event loop."""

import asyncio
from pathlib import Path

import pytest

from tests.support.journal import Journal
from tests.support.raft_cluster import raft_cluster
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalDroppedError


async def test_a_command_is_applied_on_every_node_and_its_result_returned(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        index, count = await leader.node.propose(b"one", timeout_s=10)
        assert count == 1
        await cluster.applied(index)
        assert [member.machine.commands for member in cluster.members.values()] == [[b"one"]] * 3


async def test_many_proposals_at_once_are_applied_in_one_order_everywhere(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        commands = [b"%d" % number for number in range(500)]
        results = await asyncio.gather(*(leader.node.propose(command, timeout_s=10) for command in commands))
        assert [count for _, count in results] == list(range(1, 501))
        await cluster.applied(results[-1][0])
        assert all(member.machine.commands == commands for member in cluster.members.values())


async def test_a_follower_says_who_leads(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        follower = next(member for member in cluster.members.values() if member is not leader)
        await follower.until(lambda: follower.node.status.leader_id is not None)
        with pytest.raises(NotLeaderError) as caught:
            await follower.node.propose(b"one", timeout_s=10)
        assert caught.value.leader_id == leader.config.node_id
        assert caught.value.leader_address == leader.address
        with pytest.raises(NotLeaderError):
            await follower.node.read_barrier(timeout_s=10)


async def test_a_stopped_leader_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        first = await cluster.leader()
        await first.node.propose(b"one", timeout_s=10)
        await cluster.stop(first)
        second = await cluster.leader()
        assert second.node.status.term > 1
        index, _ = await second.node.propose(b"two", timeout_s=10)
        assert second.machine.commands == [b"one", b"two"]
        returned = await cluster.start(first.config.node_id)
        await cluster.applied(index)
        assert returned.machine.commands == [b"one", b"two"]


async def test_a_leader_that_is_stopped_hands_over_first(tmp_path: Path) -> None:
    # Nobody would be elected in time: whoever leads next was told to.
    async with raft_cluster(tmp_path, Journal, election_timeout_ms=5_000) as cluster:
        first = await cluster.leader()
        await first.node.propose(b"one", timeout_s=10)
        async with asyncio.timeout(4):
            await cluster.stop(first)
            second = await cluster.leader()
        await second.node.propose(b"two", timeout_s=10)
        assert second.machine.commands == [b"one", b"two"]


async def test_all_nodes_restart_from_their_disks(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        await asyncio.gather(*(leader.node.propose(b"%d" % number, timeout_s=10) for number in range(50)))
        term = leader.node.status.term
        for member in list(cluster.members.values()):
            await cluster.stop(member)
        for node_id in cluster.configs:
            await cluster.start(node_id)
        leader = await cluster.leader()
        assert leader.node.status.term > term
        await leader.node.read_barrier(timeout_s=10)
        assert leader.machine.commands == [b"%d" % number for number in range(50)]


async def test_a_leader_that_is_cut_off_gives_way_and_learns_what_it_missed(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        old = await cluster.leader()
        await old.node.propose(b"one", timeout_s=10)
        others = [member for member in cluster.members.values() if member is not old]
        cluster.partition([old], others)
        lost = asyncio.create_task(old.node.propose(b"lost", timeout_s=60))
        await old.until(lambda: old.node.status.role is not Role.LEADER)
        with pytest.raises(NotLeaderError):
            await old.node.read_barrier(timeout_s=10)
        new = await cluster.leader()
        assert new in others
        index, _ = await new.node.propose(b"two", timeout_s=10)
        cluster.heal()
        await cluster.applied(index)
        with pytest.raises((ProposalDroppedError, OutcomeUnknownError)):
            await lost
        leader = await cluster.leader()
        await leader.node.read_barrier(timeout_s=10)
        assert all(member.machine.commands == [b"one", b"two"] for member in cluster.members.values())


async def test_a_node_that_was_away_for_long_catches_up(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal) as cluster:
        leader = await cluster.leader()
        away = next(member for member in cluster.members.values() if member is not leader)
        await cluster.stop(away)
        commands = [b"%d" % number + bytes(2_000) for number in range(3_000)]
        results = await asyncio.gather(*(leader.node.propose(command, timeout_s=30) for command in commands))
        back = await cluster.start(away.config.node_id)
        await back.applied(results[-1][0])
        assert back.machine.commands == commands
        assert leader.node.status.role is Role.LEADER
