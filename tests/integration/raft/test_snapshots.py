"""Logs that get shorter and leaders that hand over, on three nodes with real files and streams."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.support.journal import Journal
from tests.support.raft_cluster import Member, raft_cluster
from utils.raft.errors import LogDamagedError
from utils.raft.io.node import RaftNode

_SNAPSHOT_ENTRIES = 50


async def _propose(leader: Member[Journal], count: int, *, size: int = 10) -> int:
    """All at once; the index of the last one."""
    commands = [random.randbytes(size) for _ in range(count)]
    results: list[tuple[int, int]] = await asyncio.gather(
        *(leader.node.propose(command, timeout_s=20) for command in commands)
    )
    return max(index for index, _ in results)


def _raft_files(member: Member[Journal], pattern: str) -> list[Path]:
    return sorted((Path(member.config.data_dir) / "raft").glob(pattern))


async def test_logs_get_shorter_and_everything_is_there_after_a_restart_of_all(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal, snapshot_entries=_SNAPSHOT_ENTRIES) as cluster:
        leader = await cluster.leader()
        for _ in range(10):
            index = await _propose(leader, 30)
        await cluster.applied(index)
        commands = leader.machine.commands
        assert len(commands) == 300
        for member in list(cluster.members.values()):
            await cluster.stop(member)
            assert len(_raft_files(member, "snapshot-*.raft")) == 1
            assert _raft_files(member, "log-*.raft")[0].name != "log-0000000000000001.raft"
        for node_id in cluster.configs:
            # From the snapshot, before the cluster says what is committed.
            member = await cluster.start(node_id)
            assert member.node.status.last_applied >= _SNAPSHOT_ENTRIES
        leader = await cluster.leader()
        await cluster.applied(await _propose(leader, 1))
        assert all(member.machine.commands[:-1] == commands for member in cluster.members.values())


async def test_a_node_that_lost_everything_gets_a_snapshot_of_many_chunks(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal, snapshot_entries=_SNAPSHOT_ENTRIES) as cluster:
        leader = await cluster.leader()
        lost = next(member for member in cluster.members.values() if member is not leader)
        await cluster.stop(lost)
        for path in _raft_files(lost, "*"):
            path.unlink()
        # 3 MB: a dozen chunks.
        await _propose(leader, 100, size=30_000)
        returned = await cluster.start(lost.config.node_id)
        await cluster.applied(await _propose(leader, 1))
        assert returned.machine.commands == leader.machine.commands
        assert len(_raft_files(returned, "snapshot-*.raft")) == 1


async def test_a_node_follows_by_snapshots_while_the_cluster_goes_on(tmp_path: Path) -> None:
    """Slower than compaction: the log it needs is gone again and again."""
    async with raft_cluster(tmp_path, Journal, snapshot_entries=10) as cluster:
        leader = await cluster.leader()
        slow = next(member for member in cluster.members.values() if member is not leader)
        others = [member for member in cluster.members.values() if member is not slow]
        for _ in range(5):
            cluster.partition(others, [slow])
            await _propose(leader, 60)
            cluster.heal()
            await slow.applied(await _propose(leader, 1))
        assert slow.machine.commands == leader.machine.commands


async def test_a_damaged_snapshot_is_named_and_the_node_can_be_rebuilt(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Journal, snapshot_entries=_SNAPSHOT_ENTRIES) as cluster:
        leader = await cluster.leader()
        index = await _propose(leader, 200)
        await cluster.applied(index)
        victim = next(member for member in cluster.members.values() if member is not leader)
        async with asyncio.timeout(20):
            while not _raft_files(victim, "snapshot-*.raft"):  # noqa: ASYNC110 the disk tells nobody
                await asyncio.sleep(0.01)
        await cluster.stop(victim)
        [path] = _raft_files(victim, "snapshot-*.raft")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        node = RaftNode(victim.config, Journal())
        with pytest.raises(LogDamagedError, match="move its data directory away") as caught:
            await node.start()
        assert caught.value.path == str(path)
        for path in _raft_files(victim, "*"):
            path.rename(tmp_path / f"away-{path.name}")
        rebuilt = await cluster.start(victim.config.node_id)
        await cluster.applied(await _propose(leader, 1))
        assert rebuilt.machine.commands == leader.machine.commands


async def test_leadership_is_handed_over_without_a_gap(tmp_path: Path) -> None:
    # Nobody would be elected in time: whoever leads next was told to.
    async with raft_cluster(tmp_path, Journal, election_timeout_ms=5_000) as cluster:
        first = await cluster.leader()
        target = next(member for member in cluster.members.values() if member is not first)
        await _propose(first, 20)
        async with asyncio.timeout(4):
            await first.node.transfer_leadership(target.config.node_id, timeout_s=4)
            await target.until(lambda: target.node.status.ready)
        await cluster.applied(await _propose(target, 1))
        assert first.machine.commands == target.machine.commands
