"""The contract of the store, on each engine: what a primary says, of votes, decisions and writes, the cluster keeps."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db_node.commands import Seed
from db_node.database_machine import encode
from tests.integration.db_node.database_cluster import DatabaseCluster, coordinator, database_cluster
from tests.support.etcd import ENGINES
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit, transaction
from utils.db_client.client import DatabaseClient
from utils.rpc.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from utils.two_phase_commit.messages import VoteKind

SEED = encode(Seed({"stock:Book A": 10, "stock:Book B": 2, "price:Book A": 1_250}))


@pytest.fixture(params=ENGINES)
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseCluster]:
    async with database_cluster(tmp_path, request.param) as running:
        yield running


async def seeded(cluster: DatabaseCluster) -> None:
    await (await cluster.leader()).node.propose(SEED, timeout_s=5)


async def test_a_vote_and_a_decision_are_on_every_node(cluster: DatabaseCluster) -> None:
    async with coordinator(*cluster.addresses) as executor:
        await seeded(cluster)
        votes = await executor.prepare(*(transaction(attempt(order=order), ("Book B", 1)) for order in (1, 2, 3)))
        assert [vote.kind for vote in votes] == [VoteKind.COMMIT, VoteKind.COMMIT, VoteKind.BUSY]
        done = await executor.decide(commit(attempt(order=1)), abort(attempt(order=2)), commit(attempt(order=9)))
        assert [answer.done for answer in done] == [True, True, False]
        index = (await cluster.leader()).node.status.last_applied
        await cluster.applied(index)
        snapshots = {member.machine.snapshot() for member in cluster.members.values()}
        assert len(snapshots) == 1
        for member in cluster.members.values():
            entry = member.machine.get("stock:Book B")
            assert entry is not None
            assert (entry.value, entry.reserved, entry.version) == (1, 0, 2)


async def test_a_new_primary_knows_what_the_old_one_voted(cluster: DatabaseCluster) -> None:
    async with coordinator(*cluster.addresses) as executor:
        await seeded(cluster)
        first = await executor.prepare(transaction(attempt(order=1), ("Book B", 2)))
        await cluster.stop(await cluster.leader())
        assert await executor.prepare(transaction(attempt(order=1), ("Book B", 2))) == first
        (busy,) = await executor.prepare(transaction(attempt(order=2), ("Book B", 1)))
        assert busy.kind is VoteKind.BUSY
        assert (await executor.decide(commit(attempt(order=1))))[0].done
        (none_left,) = await executor.prepare(transaction(attempt(order=2), ("Book B", 1)))
        assert none_left.kind is VoteKind.ABORT


async def test_a_deposed_primary_neither_votes_nor_acknowledges(cluster: DatabaseCluster) -> None:
    await seeded(cluster)
    old = await cluster.leader()
    others = [member for member in cluster.members.values() if member is not old]
    async with coordinator(old.address) as deposed, coordinator(*(m.address for m in others)) as executor:
        (prepared,) = await deposed.prepare(transaction(attempt(order=1), ("Book B", 1)))
        assert prepared.kind is VoteKind.COMMIT
        cluster.partition([old], others)
        late = [
            asyncio.create_task(deposed.prepare(transaction(attempt(order=2), ("Book B", 1)), timeout_s=2)),
            asyncio.create_task(deposed.decide(commit(attempt(order=1)), timeout_s=2)),
        ]
        (newer,) = await executor.prepare(transaction(attempt(1, epoch=2, order=1), ("Book B", 1)))
        assert newer.kind is VoteKind.COMMIT
        for question in late:
            with pytest.raises((Unavailable, DeadlineExceeded)):
                await question
        cluster.heal()
        await executor.decide(commit(attempt(1, epoch=2, order=1)))
    leader = await cluster.leader()
    await leader.node.read_barrier(timeout_s=5)
    assert leader.machine.in_doubt == ()
    entry = leader.machine.get("stock:Book B")
    assert entry is not None
    assert (entry.value, entry.reserved) == (1, 0)


async def test_the_client_finds_the_primary_and_a_linearizable_read_sees_the_last_write(
    cluster: DatabaseCluster,
) -> None:
    await seeded(cluster)
    client = DatabaseClient(cluster.addresses)
    assert await client.write("motd", "a", expected_version=0, timeout_s=10) == 1
    with pytest.raises(FailedPrecondition):
        await client.write("motd", "b", expected_version=0, timeout_s=10)
    await cluster.stop(await cluster.leader())
    assert await client.write("motd", "c", timeout_s=10) == 2
    entry = await client.read("motd", timeout_s=10)
    assert (entry.value, entry.version) == ("c", 2)
    assert await client.decrement_stock("Book A", 4, timeout_s=10) == 6
    with pytest.raises(InvalidArgument):
        await client.write("stock:Book A", "many", timeout_s=10)
    with pytest.raises(NotFound):
        await client.read("unheard of", timeout_s=10)
    await client.close()


async def test_decrements_are_exact_while_primaries_come_and_go(cluster: DatabaseCluster) -> None:
    await (await cluster.leader()).node.propose(encode(Seed({"stock:Book A": 1_000})), timeout_s=5)
    client = DatabaseClient(cluster.addresses)
    writes = [asyncio.create_task(client.decrement_stock("Book A", 1, timeout_s=20)) for _ in range(200)]
    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    stopped = await cluster.leader()
    await cluster.stop(stopped)
    await cluster.start(stopped.config.node_id)
    left = await asyncio.gather(*writes)
    assert sorted(left) == list(range(800, 1_000)), "each write was carried out once"
    entry = await client.read("stock:Book A", timeout_s=10)
    assert (entry.value, entry.version) == (800, 201)
    await client.close()


async def test_a_primary_that_is_cut_off_gives_no_linearizable_read(cluster: DatabaseCluster) -> None:
    await seeded(cluster)
    old = await cluster.leader()
    cluster.partition([old], [member for member in cluster.members.values() if member is not old])
    client = DatabaseClient([old.address])
    with pytest.raises((Unavailable, DeadlineExceeded)):
        await client.read("stock:Book A", timeout_s=1)
    await client.close()
