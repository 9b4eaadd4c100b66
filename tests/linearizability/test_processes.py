"""What real processes answered while they were killed, paused and cut off from each other."""

import asyncio
from pathlib import Path

import pytest

from tests.linearizability import queue, register
from tests.linearizability.checker import check
from tests.linearizability.history import History
from tests.linearizability.models import Read, RegisterModel, Write
from tests.linearizability.processes import WAIT_S_MAX, replicated
from utils.pb import database_pb2 as pb
from utils.rpc.cluster import ClusterChannel

pytestmark = pytest.mark.slow


async def test_the_replicated_register_is_linearizable(tmp_path: Path) -> None:
    print(await register.run(tmp_path, rounds=1, seed=1))


async def test_the_queue_is_linearizable(tmp_path: Path) -> None:
    print(await queue.run(tmp_path, rounds=1, seed=1))


async def test_reads_that_may_be_stale_are_not_linearizable_and_the_checker_sees_it(tmp_path: Path) -> None:
    """What a node that is cut off tells, if it is asked for whatever it has."""
    history = History()

    async def record(client: register.RegisterClient, call: Read | Write) -> None:
        called_at = history.call()
        asked = client.ask(call) if isinstance(call, Write) else client.read(pb.CONSISTENCY_STALE)
        result = await asked
        history.answered(client.identity, call, called_at, result)

    async with replicated("db_node", register.settings, tmp_path) as processes, asyncio.timeout(WAIT_S_MAX):
        old = await processes.leader()
        others = [node_id for node_id in processes.node_ids if node_id != old.node_id]
        channels = (
            ClusterChannel([processes.addresses[old.node_id]]),
            ClusterChannel([processes.addresses[node_id] for node_id in others]),
        )
        there, elsewhere = (
            register.RegisterClient(channel, "note:1", identity)
            for channel, identity in zip(channels, ("there", "elsewhere"), strict=True)
        )
        await record(there, Write("a"))
        processes.network.cut([old.node_id], others)
        processes.network.cut(others, [old.node_id])
        while (await processes.leader()).term == old.term:
            continue
        await record(elsewhere, Write("b"))
        await record(there, Read())
        for channel in channels:
            await channel.close()
    violation = check(RegisterModel(), history.operations)
    assert violation is not None
    assert violation.state == ("b", 2)
