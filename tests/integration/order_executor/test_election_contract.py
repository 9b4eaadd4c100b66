"""What the executor relies on, of each kind of election (order_executor.ports.Election)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from order_executor.ports import Election
from tests.integration.order_executor.elections import ElectionCluster, Member, elections
from tests.support.etcd import ENGINES
from tests.unit.order_executor.world import eventually
from tests.unit.two_phase_commit_decision_log.test_decision_log import commit, reject
from utils.raft.errors import NotLeaderError, RaftError
from utils.rpc.errors import ServiceError
from utils.two_phase_commit.decision_log import PublishFinished, RecordDecision, RecordFinished


@pytest.fixture(params=["bully", *ENGINES])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ElectionCluster]:
    async with elections(request.param, tmp_path) as running:
        yield running


def epoch_of(election: Election) -> int:
    return election.status.epoch


def others_than(cluster: ElectionCluster, member: Member) -> list[str]:
    return [node_id for node_id in cluster.node_ids if node_id != member.node_id]


async def test_one_node_leads_and_all_know_who_and_where(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    addresses = {member.election.status.leader_address for member in cluster.members.values()}
    assert len(addresses) == 1
    assert None not in addresses
    assert epoch_of(leader.election) >= 1
    assert [member.node_id for member in cluster.members.values() if member.election.status.ready] == [leader.node_id]


async def test_only_the_leader_records_and_only_in_its_epoch(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    epoch = epoch_of(leader.election)
    for member in cluster.members.values():
        if member is not leader:
            with pytest.raises(NotLeaderError):
                await member.election.record([RecordDecision(commit(1, epoch))], epoch=epoch)
    for wrong in (epoch - 1, epoch + 1):
        with pytest.raises(NotLeaderError):
            await leader.election.record([RecordDecision(commit(1, wrong))], epoch=wrong)
    assert leader.election.decisions.decision(commit(1).order_id) is None
    assert list(await leader.election.record([RecordDecision(reject(1, epoch))], epoch=epoch)) == [reject(1, epoch)]
    assert leader.election.decisions.decision(commit(1).order_id) == reject(1, epoch)


async def test_the_next_leader_knows_every_decision_and_what_is_not_finished(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    epoch = epoch_of(leader.election)
    decisions = [commit(number, epoch) if number % 2 else reject(number, epoch) for number in range(7)]
    await leader.election.record([RecordDecision(decision) for decision in decisions], epoch=epoch)
    await leader.election.record([RecordFinished(decision.order_id) for decision in decisions[2:5]], epoch=epoch)
    await cluster.crash(leader)
    following = await cluster.ready()
    assert following is not leader
    known = following.election.decisions
    assert [known.decision(decision.order_id) for decision in decisions] == decisions
    assert known.unfinished() == decisions[:2] + decisions[5:]
    assert known.finished_count == 3
    # And what it finds is an order's decision for ever.
    later = epoch_of(following.election)
    assert list(await following.election.record([RecordDecision(reject(1, later))], epoch=later)) == [decisions[1]]


async def test_what_is_finished_and_published_is_forgotten_by_all(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    epoch = epoch_of(leader.election)
    await leader.election.record([RecordDecision(commit(number, epoch)) for number in (1, 2, 3)], epoch=epoch)
    await leader.election.record([RecordFinished(commit(number).order_id) for number in (1, 3)], epoch=epoch)
    await leader.election.record([PublishFinished(4)], epoch=epoch)
    # The second is not finished.
    assert leader.election.decisions.finished_below == 2
    await cluster.crash(leader)
    following = await cluster.ready()
    later = epoch_of(following.election)
    assert following.election.decisions.finished_below == 2
    assert following.election.decisions.decision(commit(1).order_id) is None
    assert following.election.decisions.unfinished() == [commit(2, epoch)]
    assert following.election.decisions.finished_count == 2
    # Nothing brings it back.
    assert list(await following.election.record([RecordDecision(commit(1, later))], epoch=later)) == [None]
    assert following.election.decisions.decision(commit(1).order_id) is None


async def test_epochs_grow_also_for_a_node_that_comes_back(cluster: ElectionCluster) -> None:
    epochs = []
    for _ in range(3):
        leader = await cluster.ready()
        epochs.append(epoch_of(leader.election))
        await cluster.crash(leader)
        following = await cluster.ready()
        epochs.append(epoch_of(following.election))
        await cluster.start(leader.node_id)
        await eventually(
            lambda back=leader.node_id: cluster.members[back].election.status.leader_id is not None,  # type: ignore[misc]
            "it is back",
        )
    assert epochs == sorted(epochs)
    assert len(set(epochs)) >= 4  # under Raft the one that comes back follows


async def test_of_two_leaders_of_a_split_only_one_records(cluster: ElectionCluster) -> None:
    """The old leader may believe for as long as it likes; what it decides has no effect."""
    leader = await cluster.ready()
    old = epoch_of(leader.election)
    others = others_than(cluster, leader)
    cluster.split([leader.node_id], others)
    following = await cluster.ready(others)
    new = epoch_of(following.election)
    assert new > old
    with pytest.raises((RaftError, ServiceError)):
        await leader.election.record([RecordDecision(commit(1, old))], epoch=old)
    assert list(await following.election.record([RecordDecision(reject(1, new))], epoch=new)) == [reject(1, new)]
    cluster.heal()
    last = await cluster.ready()
    assert last.election.decisions.decision(reject(1).order_id) == reject(1, new)
    assert epoch_of(last.election) >= new


async def test_a_leader_hands_over_and_its_epoch_is_over(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    epoch = epoch_of(leader.election)
    decided = commit(1, epoch)
    await leader.election.record([RecordDecision(decided)], epoch=epoch)
    changed = asyncio.create_task(leader.election.changed())
    await leader.election.hand_over()
    await asyncio.wait_for(changed, 5)
    assert not leader.election.status.ready
    following = await cluster.ready()
    assert following is not leader
    assert epoch_of(following.election) > epoch
    assert following.election.decisions.decision(decided.order_id) == decided
    with pytest.raises(NotLeaderError):
        await leader.election.record([RecordDecision(commit(2, epoch))], epoch=epoch)


async def test_nobody_to_hand_over_to_is_said(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    for member in list(cluster.members.values()):
        if member is not leader:
            await cluster.crash(member)
    with pytest.raises(RaftError):
        await leader.election.hand_over()


async def test_a_change_is_told_to_whoever_waited_before_it(cluster: ElectionCluster) -> None:
    leader = await cluster.ready()
    follower = next(member for member in cluster.members.values() if member is not leader)
    waiting = asyncio.create_task(follower.election.changed())
    await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    assert not waiting.done()
    await cluster.crash(leader)
    await asyncio.wait_for(waiting, 10)
