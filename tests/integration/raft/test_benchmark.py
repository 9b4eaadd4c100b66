"""The comparison of `make bench-raft`, as short as it can be: that it measures what it says."""

import signal
from pathlib import Path

import pytest

from benchmarks.raft.cluster import WorkerCluster
from benchmarks.raft.phases import Runner
from benchmarks.raft.systems import OurCluster, PySyncObjCluster

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("make", [OurCluster, PySyncObjCluster])
async def test_a_cluster_is_loaded_loses_its_leader_and_comes_back(
    tmp_path: Path, make: type[OurCluster] | type[PySyncObjCluster]
) -> None:
    said: list[str] = []
    runner = Runner(seconds=0.2, failovers=1, entries=300, say=said.append)
    cluster: WorkerCluster = make(tmp_path / "loaded", snapshots=True)
    try:
        await cluster.start()
        await cluster.first_commit()
        figures = await cluster.load(16, count=200)
        assert figures.commits_per_s > 0
        assert 0 < figures.p50_ms <= figures.p99_ms
        gaps = [await runner.failover(cluster, "here", number) for number in (signal.SIGKILL, signal.SIGSTOP)]
        assert all(0 < gap["median"] <= gap["max"] for gap in gaps)
    finally:
        await cluster.kill()
    restarted = make(tmp_path / "restarted", snapshots=False)
    try:
        assert await runner.restart_s(restarted, "without snapshot") > 0
    finally:
        await restarted.kill()
    assert len(said) == 3
