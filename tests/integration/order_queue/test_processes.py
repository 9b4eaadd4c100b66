"""The processes of the queue, killed and paused as machines do it."""

import asyncio
from pathlib import Path

import grpc
import psycopg
import pytest

from tests.integration.order_queue.queue_cluster import (
    NODE_IDS,
    TIMEOUT_S,
    WAIT_MS,
    poll_request,
    queue_processes,
)
from tests.support.postgres import PostgresServer
from tests.unit.order_queue.harness import approved
from tests.unit.order_queue.words import number_of
from utils.pb import order_queue_pb2 as pb
from utils.pb.order_queue_pb2_grpc import OrderQueueServiceStub
from utils.rpc.transport import open_channel


async def test_a_leader_that_is_killed_takes_no_accepted_order_with_it(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Orders stream in while an executor takes them; the leader dies in the middle, then everything does."""
    async with queue_processes(tmp_path, postgres.dsn) as queue:
        leader = await queue.leader()
        quantities = {number: number * 7 % 13 + 1 for number in range(1, 121)}
        positions: dict[int, int] = {}
        some_accepted = asyncio.Event()
        numbers = iter(quantities)

        async def enqueue_one_after_the_other() -> None:
            for number in numbers:
                positions[number] = (await queue.client.enqueue(number, quantities[number])).position
                if len(positions) == 20:
                    some_accepted.set()

        clients = [asyncio.create_task(enqueue_one_after_the_other()) for _ in range(16)]
        await some_accepted.wait()
        await queue.kill(leader)
        assert len(positions) < len(quantities), "nothing was under way any more: this run proves nothing"
        await asyncio.gather(*clients)
        assert len(set(positions.values())) == len(quantities)

        first = await queue.client.poll(max_orders=50)
        await queue.client.complete(*(approved(number) for number in first[:25]))
        await queue.start(leader)
        for node_id in NODE_IDS:
            await queue.kill(node_id)
        for node_id in NODE_IDS:
            await queue.start(node_id)

        # A new leader of everything, and an executor that still holds half of what it took.
        rest = await queue.client.poll(*first[25:])
        assert first + rest == sorted(quantities, key=lambda number: (-quantities[number], positions[number]))
        assert {(await queue.client.get(number)).state for number in first[:25]} == {pb.OrderRecord.STATE_APPROVED}
        stats = await queue.client.stats()
        assert (stats.waiting, stats.claimed, stats.completed) == (0, 95, 25)
        await queue.client.all_recorded()
        with psycopg.connect(postgres.dsn) as connection:
            rows = connection.execute("SELECT order_id FROM order_records WHERE state = 'approved'").fetchall()
        assert sorted(number_of(row[0]) for row in rows) == sorted(first[:25])


async def test_a_leader_that_was_paused_hands_out_nothing_that_its_successor_did(tmp_path: Path) -> None:
    async with queue_processes(tmp_path) as queue:
        for number in (1, 2, 3):
            await queue.client.enqueue(number)
        paused = await queue.leader()
        assert await queue.client.poll(max_orders=1) == [1]
        # A poll is on its way to the leader when it stops, which finds it in its socket when it wakes. It comes by
        # gRPC's own channel, since ours gives up a silent peer.
        async with open_channel(queue.addresses[paused]) as channel:
            stub = OrderQueueServiceStub(channel)
            await stub.GetQueueStats(pb.GetQueueStatsRequest(), timeout=TIMEOUT_S)
            queue.pause(paused)
            late_poll = stub.Dequeue(poll_request(1, max_orders=1), timeout=TIMEOUT_S)
            # Order 2 goes to the executor, and ends, in the eyes of the others. That takes them an election: by then
            # the late poll is long sent.
            assert await queue.client.poll(1, max_orders=1) == [2]
            await queue.client.complete(approved(2))
            queue.resume(paused)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await late_poll
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await queue.client.poll(1) == [3]
        assert (await queue.client.get(2)).state == pb.OrderRecord.STATE_APPROVED


async def test_a_process_ends_in_peace_when_it_is_told_to(tmp_path: Path) -> None:
    async with queue_processes(tmp_path) as queue:
        await queue.client.enqueue(1)
        waiting = asyncio.create_task(queue.client.poll(1, wait_ms=WAIT_MS))
        leader = await queue.leader()
        assert await queue.stop(leader) == 0
        assert "Traceback" not in queue.log(leader)
        await queue.client.enqueue(2)
        assert await waiting == [2]
