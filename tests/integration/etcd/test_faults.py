"""What only this engine has to stand: members of etcd that die or fall silent, lost answers, leaders that are late."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from tests.support.etcd import needs_etcd
from tests.support.etcd_cluster import EtcdCluster, etcd_cluster
from tests.support.journal import Journal
from tests.support.raft_cluster import Member
from utils.etcd.client import EtcdClient
from utils.etcd.errors import EtcdUnavailableError
from utils.etcd.layout import Layout, Leader
from utils.raft.errors import RaftError

pytestmark = needs_etcd

TIMEOUT_S = 30.0

JournalMember = Member[Journal]


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[EtcdCluster[Journal]]:
    async with etcd_cluster(tmp_path, Journal, snapshot_entries=50) as running:
        yield running


@pytest.fixture
async def stranger(nodes: EtcdCluster[Journal]) -> AsyncIterator[EtcdClient]:
    """Reaches etcd past the nodes."""
    client = EtcdClient(tuple(nodes.etcd.endpoints.values()))
    yield client
    await client.close()


def layout_of(nodes: EtcdCluster[Journal]) -> Layout:
    return Layout(next(iter(nodes.configs.values())).cluster_id)


async def record(nodes: EtcdCluster[Journal], command: bytes) -> None:
    """Proposes until it is known to be committed."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            leader = await nodes.leader()
            try:
                await leader.node.propose(command, timeout_s=10)
            except RaftError:
                continue
            return


async def all_hold(nodes: EtcdCluster[Journal], commands: set[bytes]) -> None:
    """Each of them, and in the same order everywhere; a command whose outcome was unknown may be there twice."""
    leader = await nodes.leader()
    await nodes.applied(leader.node.status.last_applied)
    assert set(leader.machine.commands) == commands
    assert all(member.machine.commands == leader.machine.commands for member in nodes.members.values())


async def test_an_append_whose_answer_is_lost_is_in_the_log_once_and_answered(nodes: EtcdCluster[Journal]) -> None:
    leader = await nodes.leader()
    await leader.node.propose(b"before", timeout_s=TIMEOUT_S)
    follower = next(member for member in nodes.members.values() if member is not leader)
    await follower.applied(leader.node.status.last_applied)
    nodes.links(leader).lose_answers()
    proposal = asyncio.create_task(leader.node.propose(b"once", timeout_s=TIMEOUT_S))
    await follower.applied(2)
    assert follower.machine.commands == [b"before", b"once"]
    assert not proposal.done()
    nodes.links(leader).heal()
    assert await proposal == (2, 2)
    await record(nodes, b"after")
    await all_hold(nodes, {b"before", b"once", b"after"})
    assert leader.machine.commands.count(b"once") == 1


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_writes_go_on_without_a_member_of_etcd_that_does_not_lead_it(
    nodes: EtcdCluster[Journal], fault: str
) -> None:
    leader = await nodes.leader()
    etcd_leader = await nodes.etcd.leader()
    for number, name in enumerate(name for name in nodes.etcd.endpoints if name != etcd_leader):
        await record(nodes, b"before %d" % number)
        if fault == "killed":
            await nodes.etcd.kill(name)
        else:
            nodes.etcd.pause(name)
        await record(nodes, b"without %d" % number)
        if fault == "killed":
            await nodes.etcd.start(name)
        else:
            nodes.etcd.resume(name)
        await nodes.etcd.healthy(name)
    await all_hold(nodes, {b"before 0", b"without 0", b"before 1", b"without 1"})
    assert leader.machine.commands[0] == b"before 0"


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_writes_go_on_when_etcd_has_elected_another_leader(nodes: EtcdCluster[Journal], fault: str) -> None:
    await record(nodes, b"before")
    etcd_leader = await nodes.etcd.leader()
    writers = [asyncio.create_task(record(nodes, b"%d" % number)) for number in range(20)]
    await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
    if fault == "killed":
        await nodes.etcd.kill(etcd_leader)
    else:
        nodes.etcd.pause(etcd_leader)
    writers += [asyncio.create_task(record(nodes, b"%d" % number)) for number in range(20, 40)]
    await asyncio.gather(*writers)
    await all_hold(nodes, {b"before", *(b"%d" % number for number in range(40))})


async def test_without_a_majority_of_etcd_nothing_is_committed_and_nobody_is_ready_until_it_is_back(
    nodes: EtcdCluster[Journal],
) -> None:
    await record(nodes, b"before")
    leader = await nodes.leader()
    [first, second, _] = nodes.etcd.endpoints
    for name in (first, second):
        nodes.etcd.pause(name)
    with pytest.raises(RaftError):
        await leader.node.propose(b"perhaps", timeout_s=4)
    for member in nodes.members.values():
        await member.until(lambda member=member: member.node.status.leader_id is None)  # type: ignore[misc]
    for name in (first, second):
        nodes.etcd.resume(name)
    await record(nodes, b"after")
    leader = await nodes.leader()
    assert [command for command in leader.machine.commands if command != b"perhaps"] == [b"before", b"after"]


async def test_what_an_earlier_leader_sends_late_has_no_effect(
    nodes: EtcdCluster[Journal], stranger: EtcdClient
) -> None:
    """As from a process that was stopped in the middle of sending, for as long as it likes."""
    old = await nodes.leader()
    term = old.node.status.term
    await old.node.propose(b"before", timeout_s=TIMEOUT_S)
    layout = layout_of(nodes)
    late = layout.append(term, 2, (b"late",))
    await old.node.transfer_leadership(timeout_s=TIMEOUT_S)
    new = await nodes.leader()
    for request in (late, layout.append(term, 1, (b"late",)), layout.write_chunk(term, 1, 0, b"late")):
        assert not (await stranger.txn(request, timeout_s=TIMEOUT_S)).succeeded
    view = layout.view(await stranger.txn(late, timeout_s=TIMEOUT_S))
    assert (view.term, view.head) == (new.node.status.term, 1)
    await record(nodes, b"after")
    await all_hold(nodes, {b"before", b"after"})


async def test_an_append_that_is_sent_twice_is_carried_out_once(
    nodes: EtcdCluster[Journal], stranger: EtcdClient
) -> None:
    await record(nodes, b"before")
    leader = await nodes.leader()
    layout = layout_of(nodes)
    same = layout.append(leader.node.status.term, 1, (b"before",))
    assert not (await stranger.txn(same, timeout_s=TIMEOUT_S)).succeeded
    await record(nodes, b"after")
    await all_hold(nodes, {b"before", b"after"})
    assert len(leader.machine.commands) == 2


async def test_a_node_that_was_killed_while_it_led_takes_over_from_itself_at_once(
    nodes: EtcdCluster[Journal], stranger: EtcdClient
) -> None:
    """Its key is still there, and its lease would last for an hour."""
    for member in list(nodes.members.values()):
        await nodes.stop(member)
    layout, node_id = layout_of(nodes), next(iter(nodes.configs))
    lease = await stranger.grant_lease(3_600, timeout_s=TIMEOUT_S)
    request = layout.campaign(Leader(node_id, nodes.configs[node_id].peers[node_id]), lease.ID)
    term = layout.term_won(await stranger.txn(request, timeout_s=TIMEOUT_S), lease.ID)
    assert term is not None
    back = await nodes.start(node_id)
    await back.until(lambda: back.node.status.ready)
    assert back.node.status.term > term
    await back.node.propose(b"more", timeout_s=TIMEOUT_S)


async def test_the_log_in_etcd_stays_short(nodes: EtcdCluster[Journal], stranger: EtcdClient) -> None:
    leader = await nodes.leader()
    for start in range(0, 400, 10):
        commands = [b"%d" % number for number in range(start, start + 10)]
        await asyncio.gather(*(leader.node.propose(command, timeout_s=TIMEOUT_S) for command in commands))
    layout = layout_of(nodes)
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            view = layout.view(await stranger.txn(layout.look(0), timeout_s=TIMEOUT_S))
            if view.snapshot is not None and view.snapshot.last_included_index >= 200 and view.entries[0][0] > 150:
                return
            await asyncio.sleep(0.05)


async def end_of(changes: AsyncGenerator[None, None]) -> None:
    async for _ in changes:
        pass


async def test_a_watch_at_a_member_that_fell_silent_ends_so_that_it_can_begin_elsewhere(
    nodes: EtcdCluster[Journal], stranger: EtcdClient
) -> None:
    layout = layout_of(nodes)
    async with contextlib.aclosing(stranger.watch(layout.news, layout.news_end)) as changes:
        await anext(changes)
        # The stranger's first.
        nodes.etcd.pause(next(iter(nodes.etcd.endpoints)))
        waiting = asyncio.create_task(end_of(changes))
        await stranger.txn(layout.look(0), timeout_s=TIMEOUT_S)
        with pytest.raises(EtcdUnavailableError):
            await asyncio.wait_for(waiting, TIMEOUT_S)
    async with contextlib.aclosing(stranger.watch(layout.news, layout.news_end)) as changes:
        await asyncio.wait_for(anext(changes), TIMEOUT_S)
