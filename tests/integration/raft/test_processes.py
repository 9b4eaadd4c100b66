"""Three nodes as processes: killed, stopped and started again while they acknowledge commands."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.raft.processes import Processes, cluster_command, started_processes


@pytest.fixture
async def processes(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Processes]:
    """The parameter, if there is one, is settings of every node."""
    async with started_processes(tmp_path, getattr(request, "param", {})) as started:
        yield started


async def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    await first.kill()
    second, second_term = await processes.leader(processes.others(first), above_term=term)
    seen = len(first.lines)
    await first.start()
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    # The next one dies, too: the first is needed for a majority now.
    await second.kill()
    await processes.leader(processes.others(second), above_term=second_term)
    await second.start()
    await second.says(lambda line: line[0] == "follows" and int(line[2]) > second_term)
    await processes.check_nothing_lost()


@pytest.mark.parametrize("processes", [{"ELECTION_TIMEOUT_MS": "6000"}], indirect=True)
async def test_a_killed_leader_is_missed_before_the_election_timeout(processes: Processes) -> None:
    """Its port is closed: that tells, and nobody waits for a heartbeat."""
    first, term = await processes.leader(list(processes.nodes.values()))
    await first.kill()
    async with asyncio.timeout(6):
        await processes.leader(processes.others(first), above_term=term)


async def test_a_stopped_leader_is_replaced_and_follows_when_it_goes_on(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    first.send(signal.SIGSTOP)
    seen = len(first.lines)
    _, second_term = await processes.leader(processes.others(first), above_term=term)
    first.send(signal.SIGCONT)
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    await processes.check_nothing_lost()


async def test_a_leader_whose_disk_is_full_gives_way_and_comes_back_when_there_is_space(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    # No file may grow: for the process that is a disk without space.
    first.limit_files(1)
    seen = len(first.lines)
    _, second_term = await processes.leader(processes.others(first), above_term=term)
    first.limit_files(resource.RLIM_INFINITY)
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    await processes.check_nothing_lost()


async def test_all_killed_at_once_come_back_with_everything(processes: Processes) -> None:
    _, term = await processes.leader(list(processes.nodes.values()))
    for node in processes.nodes.values():
        node.send(signal.SIGKILL)
    for node in processes.nodes.values():
        await node.ended()
        await node.start()
    await processes.leader(list(processes.nodes.values()), above_term=term)
    await processes.check_nothing_lost()


async def test_a_node_with_a_damaged_log_does_not_start_and_can_be_rebuilt(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    await first.kill()
    _, second_term = await processes.leader(processes.others(first), above_term=term)
    (path,) = (first.data_dir / "raft").glob("log-*.raft")
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 1
    path.write_bytes(data)
    await first.start()
    status, logged = await first.ended()
    assert status == 1
    assert f"{path} is damaged" in logged
    assert "move its data directory away" in logged
    first.data_dir.rename(first.data_dir.with_suffix(".damaged"))
    seen = len(first.lines)
    other = processes.others(first)[0]
    first.environment["RAFT_JOIN"] = other.address
    await first.start()
    status, said = await cluster_command("--nodes", other.address, "replace", "order_queue", first.node_id)
    assert status == 0, said
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    await processes.check_nothing_lost()
