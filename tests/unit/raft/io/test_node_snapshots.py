"""RaftNode over a disk and a network in memory: logs that get shorter, and leaders that hand over."""

import asyncio

import pytest

from tests.unit.raft.io.group import THREE, WAIT_S_MAX, Group, group_of, until
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalDroppedError, TransferFailedError
from utils.raft.io.node import RaftNode

_ONE = {"node_1": "host_1:1"}


async def _propose(leader: RaftNode, count: int) -> int:
    """One after the other; the index of the last one."""
    index = 0
    for number in range(count):
        index, _ = await leader.propose(b"%d" % number, timeout_s=5)
    return index


async def _has_snapshot(group: Group, node_id: str) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while not group.disks[node_id].base.index:  # noqa: ASYNC110 the disk tells nobody
            await asyncio.sleep(0.01)


async def test_a_long_log_is_replaced_by_a_snapshot_and_a_restart_goes_on_from_there() -> None:
    async with group_of(_ONE, snapshot_entries=10) as group:
        leader = await group.leader()
        # Too few for a second snapshot, which the stop might find half done.
        index = await _propose(leader, 15)
        await _has_snapshot(group, "node_1")
        await leader.stop()
        disk = group.disks["node_1"]
        assert disk.snapshot.last_included_index >= 10
        assert disk.base.index == disk.snapshot.last_included_index - 1
        assert len(disk.entries) == index - disk.base.index
        again = await group.start("node_1")
        assert again.status.last_applied == disk.snapshot.last_included_index
        await group.leader()
        assert group.machines["node_1"].commands == [b"%d" % number for number in range(15)]


async def test_a_node_that_was_away_for_long_gets_a_snapshot() -> None:
    async with group_of(THREE, snapshot_entries=10) as group:
        leader = await group.leader()
        late = group.others(leader)[0]
        late_id = late.status.node_id
        await late.stop()
        await _propose(leader, 60)
        await _has_snapshot(group, leader.status.node_id)
        returned = await group.start(late_id)
        await group.applied(returned, await _propose(leader, 1))
        assert group.disks[late_id].snapshot.last_included_index >= 10
        assert group.machines[late_id].commands == group.machines[leader.status.node_id].commands
        # What it was given is on its disk.
        await returned.stop()
        again = await group.start(late_id)
        assert again.status.last_applied >= 10
        await group.applied(again, await _propose(leader, 1))
        assert group.machines[late_id].commands == group.machines[leader.status.node_id].commands


async def test_a_proposal_whose_entry_a_snapshot_replaced_ends_unknown() -> None:
    async with group_of(THREE, snapshot_entries=10) as group:
        old = await group.leader()
        group.network.cut_off = {old.status.node_id}
        doomed = asyncio.create_task(old.propose(b"doomed", timeout_s=1_000))
        del group.nodes[old.status.node_id]
        leader = await group.leader()
        index = await _propose(leader, 60)
        await _has_snapshot(group, leader.status.node_id)
        group.nodes[old.status.node_id] = old
        group.network.cut_off = set()
        # Either its orphan's time was over before, or the snapshot ended it.
        with pytest.raises(OutcomeUnknownError):
            await asyncio.wait_for(doomed, WAIT_S_MAX)
        await group.applied(old, index)
        assert group.machines[old.status.node_id].commands == group.machines[leader.status.node_id].commands


async def test_leadership_goes_where_it_is_sent() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        await _propose(leader, 5)
        for target in group.others(leader):
            before = await group.leader()
            term = before.status.term
            await before.transfer_leadership(target.status.node_id, timeout_s=10)
            assert before.status.role is Role.FOLLOWER
            await until(target, lambda target=target: target.status.ready)  # type: ignore[misc]
            assert target.status.term == term + 1
            await target.propose(b"after", timeout_s=5)


async def test_leadership_goes_to_somebody_who_can_take_it() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        await leader.transfer_leadership(timeout_s=10)
        successor = await group.leader()
        assert successor is not leader


async def test_leadership_stays_when_the_target_is_away() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        target = group.others(leader)[0]
        term = leader.status.term
        group.network.cut_off = {target.status.node_id}
        transfer = asyncio.create_task(leader.transfer_leadership(target.status.node_id, timeout_s=10))
        await until(leader, lambda: not leader.status.ready)
        # Meanwhile nothing is proposed, and nobody is sent to the node that just said no.
        with pytest.raises(NotLeaderError) as refused:
            await leader.propose(b"meanwhile", timeout_s=5)
        assert refused.value.leader_address is None
        with pytest.raises(TransferFailedError, match="has not taken over in time"):
            await transfer
        await until(leader, lambda: leader.status.ready)
        assert leader.status.term == term
        await leader.propose(b"again", timeout_s=5)


async def test_what_was_proposed_before_is_committed_or_told() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        proposals = [asyncio.create_task(leader.propose(b"%d" % number, timeout_s=10)) for number in range(50)]
        await asyncio.sleep(0)
        await leader.transfer_leadership(timeout_s=10)
        outcomes = await asyncio.gather(*proposals, return_exceptions=True)
        committed = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        # The target had all of them before it was told to take over.
        assert len(committed) == 50, refused
        assert not [error for error in refused if isinstance(error, ProposalDroppedError)]


@pytest.mark.parametrize("target", ["node_9", "itself"])
async def test_leadership_goes_to_no_stranger_and_not_to_itself(target: str) -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        target = leader.status.node_id if target == "itself" else target
        with pytest.raises(TransferFailedError, match=f"{target} is not one of the other voters"):
            await leader.transfer_leadership(target, timeout_s=10)
        assert leader.status.ready


async def test_a_cluster_of_one_keeps_its_leader() -> None:
    async with group_of(_ONE) as group:
        leader = await group.leader()
        with pytest.raises(TransferFailedError, match="no other voter answers"):
            await leader.transfer_leadership(timeout_s=10)


async def test_only_the_leader_hands_over() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        follower = group.others(leader)[0]
        await until(follower, lambda: follower.status.leader_id is not None)
        with pytest.raises(NotLeaderError) as refused:
            await follower.transfer_leadership(timeout_s=10)
        assert refused.value.leader_id == leader.status.node_id


async def test_stopping_ends_a_transfer() -> None:
    async with group_of(THREE) as group:
        leader = await group.leader()
        group.network.cut_off = {leader.status.node_id}
        transfer = asyncio.create_task(leader.transfer_leadership(timeout_s=1_000))
        await until(leader, lambda: not leader.status.ready)
        await leader.stop()
        with pytest.raises(TransferFailedError):
            await transfer
