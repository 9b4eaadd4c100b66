"""What operators do to a cluster of processes while it acknowledges commands: python -m bookstore cluster."""

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.integration.raft.processes import NodeProcess, Processes, cluster_command, started_processes
from tests.support.raft_cluster import free_ports

pytestmark = pytest.mark.slow


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with started_processes(tmp_path, {}) as started:
        yield started


async def command(via: NodeProcess, action: str, *arguments: str) -> str:
    status, output = await cluster_command("--nodes", via.address, action, "order_queue", *arguments)
    assert status == 0, output
    return output


async def complaint(via: NodeProcess, action: str, *arguments: str) -> str:
    status, output = await cluster_command("--nodes", via.address, action, "order_queue", *arguments)
    assert status == 1, output
    return output


def fourth_node(processes: Processes, *, join: NodeProcess) -> NodeProcess:
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    return processes.add("node_4", address, f"node_4={address}", RAFT_JOIN=join.address)


async def answers(node: NodeProcess) -> None:
    """Waits until it does."""
    async with asyncio.timeout(60):
        while (await cluster_command("--nodes", node.address, "status", "order_queue"))[0]:  # noqa: ASYNC110 another process
            await asyncio.sleep(0.2)


async def shown(via: NodeProcess, condition: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """What `status` shows as each node's role, once the condition holds."""
    async with asyncio.timeout(60):
        while True:
            table = await command(via, "status")
            roles = {row.split()[0]: row.split()[2] for row in table.splitlines()[1:-1]}
            if condition(roles):
                return roles


async def test_nodes_are_added_removed_and_replaced_and_a_restart_with_the_old_environment_keeps_that(
    processes: Processes,
) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    second, third = processes.others(first)
    # One comes, by the address of a follower.
    fourth = fourth_node(processes, join=second)
    await fourth.start()
    assert "node_4 is a voter" in await command(second, "add", "node_4", fourth.address)
    # The leader goes.
    assert f"{first.node_id} is removed" in await command(third, "remove", first.node_id)
    _, second_term = await processes.leader([second, third, fourth], above_term=term)
    await first.kill()
    # One loses its disk and comes back under its old name.
    await fourth.kill()
    shutil.rmtree(fourth.data_dir)
    await fourth.start()
    assert "node_4 is a voter" in await command(third, "replace", "node_4")
    # Everything stops at once, and starts with what it was started with the first time.
    for node in (second, third, fourth):
        node.send(signal.SIGKILL)
    for node in (second, third, fourth):
        await node.ended()
        await node.start()
    _, last_term = await processes.leader([second, third, fourth], above_term=second_term)
    seen = await shown(second, lambda roles: "does" not in roles.values())
    assert set(seen) == {second.node_id, third.node_id, "node_4"}
    assert sorted(seen.values()) == ["leader", "voter", "voter"]
    # The fourth is needed for a majority now.
    await second.kill()
    await processes.leader([third, fourth], above_term=last_term - 1)
    for node in (second, first):
        await node.start()
        await answers(node)
    await processes.check_nothing_lost()


async def test_operators_see_the_cluster_and_hand_leadership_on(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    second = processes.others(first)[0]
    assert f"{second.node_id} leads now" in await command(first, "transfer", second.node_id)
    await processes.leader([second], above_term=term)
    snapshots = await command(first, "snapshot")
    assert {line.split(":")[0] for line in snapshots.splitlines()} == set(processes.nodes)
    for line in snapshots.splitlines():
        assert re.search("a snapshot of the entries up to [1-9][0-9]* is on its disk$", line)
    await shown(first, lambda roles: roles[second.node_id] == "leader")
    table = await command(first, "status")
    for row in table.splitlines()[1:-1]:
        *_, held, _, snapshot = row.split()
        assert int(held) >= int(snapshot) > 0


async def test_what_cannot_be_done_is_said_with_what_to_do(processes: Processes) -> None:
    first, _ = await processes.leader(list(processes.nodes.values()))
    assert "the members are node_1, node_2, node_3" in await complaint(first, "remove", "node_9")
    assert "remove it first" in await complaint(first, "add", "node_2", "127.0.0.1:1")
    assert "host:port" in await complaint(first, "add", "node_4", "nowhere")
    assert "is not one of the other voters" in await complaint(first, "transfer", "node_9")
    assert "RAFT_JOIN" in await complaint(first, "add", "node_4", "127.0.0.1:1", "--wait", "0")
    await shown(first, lambda roles: roles["node_4"] == "does")
    for other in processes.others(first):
        await other.kill()
    [port] = free_ports(1)
    nobody = await cluster_command("--nodes", f"127.0.0.1:{port}", "status", "db_node")
    assert nobody == (1, f"no node answers at 127.0.0.1:{port}")
    assert "majority of the voters" in await complaint(first, "remove", "node_4")
