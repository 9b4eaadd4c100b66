"""Bully cannot tell two leaders of a split apart; the epoch in the database can, whatever is lost or late."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.order_executor.elections import BullyMember, ElectionCluster, bully_member, elections
from tests.unit.order_executor.world import eventually
from tests.unit.two_phase_commit_decision_log.test_decision_log import commit, reject
from utils.raft.errors import NotLeaderError
from utils.rpc.errors import Unavailable
from utils.two_phase_commit.decision_log import RecordDecision

ONE, TWO, THREE = "order_executor_1", "order_executor_2", "order_executor_3"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ElectionCluster]:
    async with elections("bully", tmp_path) as running:
        yield running


async def leader_of(cluster: ElectionCluster, *among: str) -> BullyMember:
    return bully_member(await cluster.ready(among or None))


def member(cluster: ElectionCluster, node_id: str) -> BullyMember:
    return bully_member(cluster.members[node_id])


async def test_the_highest_node_leads_and_takes_over_again_when_it_is_back(cluster: ElectionCluster) -> None:
    first = await leader_of(cluster)
    assert first.node_id == THREE
    await cluster.crash(first)
    assert (await leader_of(cluster)).node_id == TWO
    await cluster.start(THREE)
    await eventually(lambda: member(cluster, THREE).election.status.ready, "the highest leads again")
    last = await leader_of(cluster)
    assert last.node_id == THREE
    assert last.election.status.epoch == cluster.log.epoch.number == first.election.status.epoch + 2


async def test_a_raise_whose_answer_was_lost_is_recognised(cluster: ElectionCluster) -> None:
    leader = await leader_of(cluster)
    two = member(cluster, TWO)
    two.keeper.answers_lost = 1
    epoch = cluster.log.epoch.number
    await cluster.crash(leader)
    following = await leader_of(cluster)
    # It has raised once, and was told so later, when it asked.
    assert (following.node_id, two.keeper.raises) == (TWO, 1)
    assert following.election.status.epoch == cluster.log.epoch.number == epoch + 1


async def test_a_node_that_was_started_again_does_not_take_its_old_epoch_for_its_own(cluster: ElectionCluster) -> None:
    """Only the incarnation tells: everything else of the record is the node's own."""
    old = await leader_of(cluster)
    held = cluster.log.epoch
    old.election._ticker.stop()
    old._heard = frozenset()
    again = bully_member(await _restarted_beside(cluster, old))
    await eventually(lambda: again.election.status.ready, "the new process leads")
    assert cluster.log.epoch.node_id == held.node_id
    assert again.election.status.epoch == held.number + 1
    # The old process is still there, and has not heard of it.
    with pytest.raises(NotLeaderError):
        await old.election.record([RecordDecision(commit(1, held.number))], epoch=held.number)
    assert cluster.log.decisions.remembered_count == 0
    await old.crash()


async def _restarted_beside(cluster: ElectionCluster, old: BullyMember) -> BullyMember:
    await old.server.stop(grace_s=0)
    return bully_member(await cluster.start(old.node_id))


async def test_a_decision_that_is_delayed_past_the_raise_is_refused_and_ends_the_reign(
    cluster: ElectionCluster,
) -> None:
    leader = await leader_of(cluster)
    epoch = leader.election.status.epoch
    leader.keeper.way.clear()
    late = asyncio.create_task(leader.election.record([RecordDecision(commit(1, epoch))], epoch=epoch))
    cluster.split([THREE], [ONE, TWO])
    following = await leader_of(cluster, ONE, TWO)
    assert await following.election.record([RecordDecision(reject(1, epoch + 1))], epoch=epoch + 1)
    leader.keeper.way.set()
    with pytest.raises(NotLeaderError):
        await late
    assert not leader.election.status.ready
    assert cluster.log.decisions.decision(commit(1).order_id) == reject(1, epoch + 1)


async def test_a_leader_that_hears_nothing_learns_from_the_database_that_it_is_fenced(
    cluster: ElectionCluster,
) -> None:
    """It has nothing to decide, and nobody can reach it."""
    leader = await leader_of(cluster)
    cluster.split([THREE], [ONE, TWO])
    following = await leader_of(cluster, ONE, TWO)
    await eventually(lambda: not leader.election.status.ready, "it stops to believe that it leads")
    assert following.election.status.epoch == cluster.log.epoch.number


async def test_in_a_split_each_side_acts_in_its_turn_and_never_both(cluster: ElectionCluster) -> None:
    """Whoever raised last holds the epoch; the other waits before it takes it back, so that orders end between."""
    await leader_of(cluster)
    cluster.split([THREE], [ONE, TWO])
    recorded: dict[str, list[int]] = {THREE: [], TWO: []}

    async def decide_all_the_time(node_id: str) -> None:
        election = member(cluster, node_id).election
        number = 1_000 if node_id == THREE else 2_000
        while True:
            await asyncio.sleep(0.005)
            status = election.status
            if not status.ready:
                continue
            number += 1
            try:
                await election.record([RecordDecision(commit(number, status.epoch))], epoch=status.epoch)
            except NotLeaderError:
                continue
            recorded[node_id].append(status.epoch)

    async with asyncio.TaskGroup() as tasks:
        busy = [tasks.create_task(decide_all_the_time(node_id)) for node_id in recorded]
        await eventually(lambda: all(len(set(epochs)) > 1 for epochs in recorded.values()), "both have had two turns")
        for task in busy:
            task.cancel()
    # No epoch is both sides', and the log's order is that of the epochs: no older one wrote after a newer one.
    assert not set(recorded[THREE]) & set(recorded[TWO])
    order = [decision.attempt.epoch for decision in cluster.log.decisions.page(0, 100_000)]
    assert order == sorted(order)
    # A turn is long enough for some work.
    assert len(order) > 10 * len(set(order))


async def test_a_reign_begins_when_the_database_is_there(cluster: ElectionCluster) -> None:
    leader = await leader_of(cluster)
    two = member(cluster, TWO)
    two.keeper.is_away = True
    await cluster.crash(leader)
    await eventually(lambda: two.election.status.leader_id == TWO, "it may lead")
    await asyncio.sleep(0.1)
    assert not two.election.status.ready
    two.keeper.is_away = False
    assert (await leader_of(cluster)).node_id == TWO


async def test_a_database_that_is_away_for_a_moment_ends_no_reign(cluster: ElectionCluster) -> None:
    leader = await leader_of(cluster)
    epoch = leader.election.status.epoch
    leader.keeper.is_away = True
    with pytest.raises(Unavailable):
        await leader.election.record([RecordDecision(commit(1, epoch))], epoch=epoch)
    await asyncio.sleep(1)
    leader.keeper.is_away = False
    assert await leader.election.record([RecordDecision(commit(1, epoch))], epoch=epoch)
    assert leader.election.status.epoch == epoch


async def test_decisions_whose_answers_were_lost_are_read_by_the_same_node_in_its_next_reign(
    cluster: ElectionCluster,
) -> None:
    leader = await leader_of(cluster)
    epoch = leader.election.status.epoch
    leader.keeper.answers_lost = 1
    with pytest.raises(Unavailable):
        await leader.election.record([RecordDecision(commit(1, epoch))], epoch=epoch)
    await leader.election.record([RecordDecision(commit(number, epoch)) for number in (2, 3)], epoch=epoch)
    assert leader.election.decisions.decision(commit(1).order_id) is None
    cluster.split([THREE], [ONE, TWO])
    await leader_of(cluster, ONE, TWO)
    cluster.heal()
    again = await leader_of(cluster)
    assert again is leader
    for number in (1, 2, 3):
        assert leader.election.decisions.decision(commit(number).order_id) == commit(number, epoch)
