"""RaftNode over a disk and a network in memory: what callers are told."""

import asyncio
import subprocess
import sys

import pytest

from tests.unit.raft.io.group import THREE, WAIT_S_MAX, group_of, until
from utils.config import ConfigError
from utils.raft.config import RaftConfig
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalDroppedError


async def test_a_cluster_of_one_elects_itself_and_commits() -> None:
    async with group_of({"node_1": "host_1:1"}) as group:
        leader = await group.leader()
        assert await leader.propose(b"one", timeout_s=5) == (2, 1)
        await leader.read_barrier(timeout_s=5)
        status = leader.status
        assert (status.role, status.leader_id, status.leader_address) == (Role.LEADER, "node_1", "host_1:1")
        assert (status.commit_index, status.last_applied, status.last_log_index, status.ready) == (2, 2, 2, True)


async def test_a_restarted_node_keeps_term_and_log_and_applies_it_again() -> None:
    async with group_of({"node_1": "host_1:1"}) as group:
        leader = await group.leader()
        term = leader.status.term
        await leader.propose(b"one", timeout_s=5)
        await leader.stop()
        again = await group.start("node_1")
        assert again.status.term == term
        assert again.status.last_log_index == 2
        await group.leader()
        assert group.machines["node_1"].commands == [b"one"]
        assert again.status.term == term + 1


async def test_a_long_log_is_applied_in_order() -> None:
    async with group_of({"node_1": "host_1:1"}) as group:
        leader = await group.leader()
        commands = [b"%d" % number for number in range(2_000)]
        await asyncio.gather(*(leader.propose(command, timeout_s=10) for command in commands))
        await leader.stop()
        await group.start("node_1")
        leader = await group.leader()
        await leader.read_barrier(timeout_s=10)
        assert group.machines["node_1"].commands == commands


async def test_a_command_of_a_deposed_leader_is_dropped_when_its_successor_says_so() -> None:
    # The successor must be there before the deposed leader gives up, also on a busy machine.
    async with group_of(THREE, election_timeout_ms=600) as group:
        old = await group.leader()
        index = old.status.last_log_index
        group.network.cut_off = {old.status.node_id}
        doomed = asyncio.create_task(old.propose(b"doomed", timeout_s=20))
        await until(old, lambda: old.status.role is not Role.LEADER)
        others = group.others(old)
        await until(others[0], lambda: any(node.status.ready for node in others))
        assert not doomed.done()
        group.network.cut_off = set()
        with pytest.raises(ProposalDroppedError):
            await doomed
        assert old.status.commit_index > index
        assert all(machine.commands == [] for machine in group.machines.values())


async def test_a_command_of_a_deposed_leader_ends_unknown_when_nobody_tells() -> None:
    async with group_of(THREE) as group:
        old = await group.leader()
        group.network.cut_off = {old.status.node_id}
        async with asyncio.timeout(WAIT_S_MAX):
            with pytest.raises(OutcomeUnknownError, match="leadership was lost"):
                await old.propose(b"one", timeout_s=1_000)
        with pytest.raises(NotLeaderError):
            await old.propose(b"two", timeout_s=5)


async def test_a_command_may_be_committed_although_its_leader_was_cut_off() -> None:
    """That is why it ends unknown: the majority has it."""
    # The successor must be there before the deposed leader gives up, also on a busy machine.
    async with group_of(THREE, election_timeout_ms=600) as group:
        old = await group.leader()
        # Everybody hears the leader, and it hears nobody.
        receive = old.receive
        group.network.connect(old.status.node_id, lambda _: None)
        proposal = asyncio.create_task(old.propose(b"one", timeout_s=1_000))
        await until(old, lambda: old.status.role is not Role.LEADER)
        others = group.others(old)
        async with asyncio.timeout(WAIT_S_MAX):
            while not any(node.status.ready for node in others):
                changes = [asyncio.create_task(node.changed()) for node in others]
                await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
                for change in changes:
                    change.cancel()
        group.network.connect(old.status.node_id, receive)
        index, count = await proposal
        assert count == 1
        assert index >= 2


async def test_a_deposed_leader_confirms_no_reads() -> None:
    async with group_of(THREE) as group:
        old = await group.leader()
        group.network.cut_off = {old.status.node_id}
        async with asyncio.timeout(WAIT_S_MAX):
            with pytest.raises(NotLeaderError):
                await old.read_barrier(timeout_s=1_000)


async def test_a_proposal_has_only_so_much_time() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        group.network.cut_off = {leader.status.node_id}
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.010 s"):
            await leader.propose(b"one", timeout_s=0.01)
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.010 s"):
            await leader.read_barrier(timeout_s=0.01)


async def test_a_command_for_another_term_is_refused() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        term = leader.status.term
        with pytest.raises(NotLeaderError):
            await leader.propose(b"one", term=term - 1, timeout_s=5)
        assert (await leader.propose(b"one", term=term, timeout_s=5))[1] == 1


async def test_stopping_ends_what_is_in_flight_and_tells_those_who_watch() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        group.network.cut_off = {leader.status.node_id}
        proposal = asyncio.create_task(leader.propose(b"one", timeout_s=1_000))
        read = asyncio.create_task(leader.read_barrier(timeout_s=1_000))
        watcher = asyncio.create_task(leader.changed())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await leader.stop()
        with pytest.raises(OutcomeUnknownError):
            await proposal
        with pytest.raises(NotLeaderError):
            await read
        await asyncio.wait_for(watcher, 5)
        assert (leader.status.role, leader.status.leader_id, leader.status.ready) == (Role.FOLLOWER, None, False)
        with pytest.raises(NotLeaderError):
            await leader.propose(b"two", timeout_s=5)


async def test_a_leader_whose_disk_is_full_gives_way_and_comes_back() -> None:
    async with group_of(THREE) as group:
        full = await group.leader()
        full_id, term = full.status.node_id, full.status.term
        await full.propose(b"one", timeout_s=5)
        group.disks[full_id].is_full = True
        proposal = asyncio.create_task(full.propose(b"two", timeout_s=1_000))
        await until(full, lambda: full.status.role is not Role.LEADER)
        with pytest.raises(NotLeaderError):
            await full.propose(b"three", timeout_s=5)
        # The two others may have committed it before this disk said no; otherwise its proposer cannot know.
        await asyncio.wait((proposal,))
        is_unknown = isinstance(proposal.exception(), OutcomeUnknownError)
        assert is_unknown or proposal.exception() is None
        others = group.others(full)
        del group.nodes[full_id]
        leader = await group.leader()
        assert leader in others
        assert leader.status.term > term
        index, _ = await leader.propose(b"four", timeout_s=5)
        group.disks[full_id].is_full = False
        group.nodes[full_id] = full
        await until(full, lambda: full.status.leader_id == leader.status.node_id)
        await leader.read_barrier(timeout_s=5)
        async with asyncio.timeout(WAIT_S_MAX):
            while full.status.last_applied < index:  # noqa: ASYNC110 applying is no change of status
                await asyncio.sleep(0.01)
        commands = group.machines[full_id].commands
        assert commands == group.machines[leader.status.node_id].commands
        assert b"two" in commands or is_unknown
        assert b"three" not in commands


_RAISING_MACHINE = """
import asyncio
from utils.raft.config import RaftConfig
from utils.raft.io.memory import MemoryNetwork, MemoryStorage
from utils.raft.io.node import RaftNode

class Machine:
    def apply(self, index, command):
        raise ZeroDivisionError("a defect")

async def main():
    times = {"election_timeout_ms": 60, "heartbeat_interval_ms": 10}
    config = RaftConfig(node_id="n", port=1, peers={"n": "h:1"}, data_dir="", **times)
    node = RaftNode(config, Machine(), storage=MemoryStorage(), transport=MemoryNetwork().transport("n"))
    await node.start()
    while not node.status.ready:
        await node.changed()
    print("ready", flush=True)
    await node.propose(b"", timeout_s=30)
    print("acknowledged", flush=True)

asyncio.run(main())
"""


def test_a_state_machine_that_raises_ends_the_process() -> None:
    """The node can neither skip the entry nor apply what comes after it."""
    ended = subprocess.run(
        [sys.executable, "-c", _RAISING_MACHINE], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 70
    assert "ready" in ended.stdout.splitlines()
    assert "acknowledged" not in ended.stdout
    assert "a defect" in ended.stdout + ended.stderr


def test_a_node_is_one_of_its_peers() -> None:
    with pytest.raises(ConfigError, match="not among its own peers"):
        RaftConfig(node_id="node_4", port=1, peers=THREE, data_dir="")


def test_an_election_timeout_allows_for_lost_heartbeats() -> None:
    with pytest.raises(ConfigError, match="three times"):
        RaftConfig(node_id="node_1", port=1, peers=THREE, data_dir="", election_timeout_ms=200)
