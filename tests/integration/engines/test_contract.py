"""What the services' state machines rely on (utils.raft.consensus), of each engine that may keep their log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.etcd import ENGINES
from tests.support.etcd_cluster import cluster
from tests.support.journal import Journal
from tests.support.raft_cluster import Member, RaftCluster
from tests.unit.order_executor.world import eventually
from utils.raft.errors import NotLeaderError, ProposalRefusedError, RaftError

TIMEOUT_S = 20.0

JournalCluster = RaftCluster[Journal]
JournalMember = Member[Journal]


@pytest.fixture(params=ENGINES)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JournalCluster]:
    async with cluster(request.param, tmp_path, Journal, snapshot_entries=100) as running:
        yield running


def others_than(nodes: JournalCluster, *members: JournalMember) -> list[JournalMember]:
    return [member for member in nodes.members.values() if member not in members]


async def record(nodes: JournalCluster, command: bytes, *, but: JournalMember | None = None) -> int:
    """Proposes until it is committed, as callers do that may repeat themselves; its index, or a later one.

    `but`: not to this node, which may still believe in itself.
    """
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            for member in list(nodes.members.values()):
                if member is not but and member.node.status.ready:
                    with contextlib.suppress(RaftError):
                        await member.node.propose(command, timeout_s=5)
                        return member.node.status.last_applied
            # Nodes come and go meanwhile: whichever leads next may not be there yet.
            await asyncio.sleep(0.02)


async def test_one_node_is_ready_and_all_know_who_and_where(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    for member in nodes.members.values():
        await member.until(lambda member=member: member.node.status.leader_id is not None)  # type: ignore[misc]
        assert member.node.status.leader_id == leader.config.node_id
        assert member.node.status.leader_address == leader.address
        assert member.node.status.ready == (member is leader)


async def test_every_node_applies_the_same_commands_in_the_same_order(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    commands = [b"%d" % number for number in range(50)]
    results = await asyncio.gather(*(leader.node.propose(command, timeout_s=TIMEOUT_S) for command in commands))
    assert len(set(results)) == len(commands), "each has an answer of its own"
    await nodes.applied(leader.node.status.last_applied)
    assert sorted(leader.machine.commands) == sorted(commands)
    assert all(member.machine.commands == leader.machine.commands for member in nodes.members.values())


async def test_only_the_leader_proposes_and_only_in_its_term(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    term = leader.node.status.term
    for member in others_than(nodes, leader):
        await member.until(lambda member=member: member.node.status.leader_id is not None)  # type: ignore[misc]
        with pytest.raises(NotLeaderError) as refusal:
            await member.node.propose(b"no", timeout_s=5)
        assert refusal.value.leader_id == leader.config.node_id
        with pytest.raises(NotLeaderError):
            await member.node.read_barrier(timeout_s=5)
    for wrong in (term - 1, term + 1):
        with pytest.raises(NotLeaderError):
            await leader.node.propose(b"no", term=wrong, timeout_s=5)
    await leader.node.propose(b"yes", term=term, timeout_s=TIMEOUT_S)
    assert leader.machine.commands == [b"yes"]


async def test_a_command_that_is_too_large_is_refused_and_harms_nobody(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    with pytest.raises(ProposalRefusedError, match="at most 1048576 bytes"):
        await leader.node.propose(bytes(1024 * 1024 + 1), timeout_s=5)
    largest = [bytes([number]) * 1024 * 1024 for number in range(3)]
    await asyncio.gather(*(leader.node.propose(command, timeout_s=TIMEOUT_S) for command in largest))
    assert sorted(leader.machine.commands) == largest


async def test_the_next_leader_has_everything_and_a_later_term(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    term = leader.node.status.term
    for number in range(5):
        await leader.node.propose(b"%d" % number, timeout_s=TIMEOUT_S)
    await nodes.stop(leader)
    following = await nodes.leader()
    assert following.node.status.term > term
    assert following.machine.commands == [b"0", b"1", b"2", b"3", b"4"]
    await following.node.read_barrier(timeout_s=TIMEOUT_S)


async def test_a_leader_that_is_cut_off_neither_commits_nor_reads_and_stops_being_ready(nodes: JournalCluster) -> None:
    old = await nodes.leader()
    await old.node.propose(b"before", timeout_s=TIMEOUT_S)
    nodes.partition([old], others_than(nodes, old))
    write = asyncio.create_task(old.node.propose(b"lost", term=old.node.status.term, timeout_s=TIMEOUT_S))
    read = asyncio.create_task(old.node.read_barrier(timeout_s=TIMEOUT_S))
    await old.until(lambda: not old.node.status.ready)
    new = await record(nodes, b"after", but=old)
    for question in (write, read):
        with pytest.raises(RaftError):
            await question
    assert old.machine.commands == [b"before"]
    with pytest.raises(NotLeaderError):
        await old.node.propose(b"again", timeout_s=5)
    nodes.heal()
    await old.applied(new)
    assert old.machine.commands == [b"before", b"after"]
    assert not old.node.status.ready


async def test_leadership_is_handed_over_and_the_old_term_is_over(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    term = leader.node.status.term
    await leader.node.propose(b"before", timeout_s=TIMEOUT_S)
    await leader.node.transfer_leadership(timeout_s=TIMEOUT_S)
    assert not leader.node.status.ready
    with pytest.raises(NotLeaderError):
        await leader.node.propose(b"late", term=term, timeout_s=5)
    following = await nodes.leader()
    assert following is not leader
    assert following.machine.commands == [b"before"]


async def test_a_node_that_was_away_for_longer_than_the_log_reads_the_snapshot(nodes: JournalCluster) -> None:
    leader = await nodes.leader()
    away = others_than(nodes, leader)[0]
    await nodes.stop(away)
    for start in range(0, 300, 10):
        batch = [b"%d" % number for number in range(start, start + 10)]
        await asyncio.gather(*(leader.node.propose(command, timeout_s=TIMEOUT_S) for command in batch))
    back = await nodes.start(away.config.node_id)
    await back.applied(leader.node.status.last_applied)
    assert back.machine.snapshot() == leader.machine.snapshot()
    await record(nodes, b"one more")


async def test_a_caller_that_repeats_itself_through_changes_of_leaders_loses_nothing(nodes: JournalCluster) -> None:
    writers = [asyncio.create_task(record(nodes, b"%d" % number)) for number in range(100)]
    for _ in range(2):
        leader = await nodes.leader()
        await nodes.stop(leader)
        await nodes.start(leader.config.node_id)
    await asyncio.gather(*writers)
    leader = await nodes.leader()
    await leader.node.read_barrier(timeout_s=TIMEOUT_S)
    assert set(leader.machine.commands) == {b"%d" % number for number in range(100)}
    await eventually(
        lambda: all(member.machine.commands == leader.machine.commands for member in nodes.members.values()),
        "every node holds the same",
    )
