"""The database as it is deployed: three processes, of which the primary is killed."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.integration.db_node.database_cluster import NODE_IDS, TIMEOUT_S, coordinator, database_processes
from tests.integration.payment.payment_process import executor_double
from tests.unit.two_phase_commit_participant.words import attempt, commit, transaction
from utils.catalogue import load_catalogue
from utils.db_client.client import DatabaseClient
from utils.pb.database_pb2 import GetDatabaseStatusResponse
from utils.two_phase_commit.messages import ResolutionKind, VoteKind

pytestmark = pytest.mark.slow


async def test_the_primary_is_killed_after_prepare_and_the_next_one_knows(tmp_path: Path) -> None:
    async with database_processes(tmp_path) as processes, coordinator(*processes.addresses) as executor:
        client = DatabaseClient(processes.addresses)
        await processes.until(lambda status: status.is_primary and status.keys)
        votes = await executor.prepare(transaction(attempt(order=1), ("Book F", 1)))
        assert [vote.kind for vote in votes] == [VoteKind.COMMIT]
        killed = await processes.primary()
        await processes.kill(killed)
        # Book F has one copy.
        (busy,) = await executor.prepare(transaction(attempt(order=2), ("Book F", 1)))
        assert busy.kind is VoteKind.BUSY
        assert (await client.read("stock:Book F", timeout_s=TIMEOUT_S)).reserved == 1
        assert (await executor.decide(commit(attempt(order=1))))[0].done
        # Now the two others: what all three know is on their disks.
        await processes.start(killed)
        for node_id in NODE_IDS:
            if node_id != killed:
                await processes.kill(node_id)
                await processes.start(node_id)
        (again,) = await executor.prepare(transaction(attempt(2, order=1), ("Book F", 1)))
        assert (again.kind, again.other_attempt) == (VoteKind.ALREADY_COMMITTED, attempt(order=1))
        entry = await client.read("stock:Book F", timeout_s=TIMEOUT_S)
        assert (entry.value, entry.reserved, entry.version) == (0, 0, 2)
        await client.close()


async def test_in_doubt_the_primary_asks_and_every_node_hears(tmp_path: Path) -> None:
    async with (
        executor_double() as (executor, address),
        database_processes(tmp_path, executors=address, in_doubt_s=0.3) as processes,
        coordinator(*processes.addresses) as speaker,
    ):
        await processes.until(lambda status: status.is_primary and status.keys)
        executor.known = {
            attempt(order=1): ResolutionKind.COMMITTED,
            attempt(order=2): ResolutionKind.ABORTED,
        }
        votes = await speaker.prepare(*(transaction(attempt(order=order), ("Book E", 2)) for order in (1, 2, 3)))
        assert {vote.kind for vote in votes} == {VoteKind.COMMIT}
        await processes.kill(await processes.primary())
        status = await processes.until(
            lambda status: status.is_primary and len(status.reservations) == 1,
        )
        assert [reservation.order_id for reservation in status.reservations] == [attempt(order=3).order_id]
        client = DatabaseClient(processes.addresses)
        entry = await client.read("stock:Book E", timeout_s=TIMEOUT_S)
        assert (entry.value, entry.reserved) == (8, 2)
        await client.close()


async def test_the_catalogue_is_there_and_stale_reads_say_their_age(tmp_path: Path) -> None:
    books = load_catalogue()
    async with database_processes(tmp_path) as processes:
        client = DatabaseClient(processes.addresses)
        for node_id in NODE_IDS:
            await processes.until(partial(_is_fresh, node_id))
        for _ in NODE_IDS:
            prices = await client.read_all_stale("price:", timeout_s=TIMEOUT_S)
            assert {entry.key: entry.value for entry in prices.entries} == {
                f"price:{book.title}": book.price_cents for book in books
            }
            assert prices.stale_ms is not None
            assert prices.stale_ms < 10_000
        await client.write("stock:Book A", 7, timeout_s=TIMEOUT_S)
        # With two of three gone nobody can confirm anything: stale reads go on, and grow older.
        primary = await processes.primary()
        survivor = next(node_id for node_id in NODE_IDS if node_id != primary)
        for node_id in NODE_IDS:
            if node_id != survivor:
                await processes.kill(node_id)
        first = await client.read_stale("price:Book A", timeout_s=TIMEOUT_S)
        await asyncio.sleep(1.0)
        second = await client.read_stale("price:Book A", timeout_s=TIMEOUT_S)
        assert first.stale_ms is not None
        assert second.stale_ms is not None
        assert second.stale_ms >= first.stale_ms + 900
        with pytest.raises(Exception, match="no leader"):
            await client.read("price:Book A", timeout_s=1)
        for node_id in NODE_IDS:
            if node_id != survivor:
                await processes.start(node_id)
        # Stock that was written is not seeded again.
        assert (await client.read("stock:Book A", timeout_s=TIMEOUT_S)).value == 7
        await client.close()


def _is_fresh(node_id: str, status: GetDatabaseStatusResponse) -> bool:
    return status.node_id == node_id and status.HasField("stale_ms") and status.keys > 0
