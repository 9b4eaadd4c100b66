"""Registers: keys of the database, each read and written by some clients at once."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from tests.linearizability.checker import check
from tests.linearizability.clients import CALL_TIMEOUT_S, Recorder
from tests.linearizability.faults import inflict
from tests.linearizability.models import Read, RegisterModel, Write, WriteAt, without_unread_values
from tests.linearizability.processes import ReplicatedProcesses, replicated
from tests.linearizability.report import Report
from utils.pb import database_pb2 as pb
from utils.pb.database_pb2_grpc import DatabaseServiceStub
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import FailedPrecondition, NotFound

KEYS = ("note:1", "note:2", "note:3")
CLIENTS_PER_KEY = 4
OPERATIONS_PER_KEY_MAX = 4_000
# Of every key, for each fault.
_ANSWERED_MIN = 20


def settings(node_id: str, port: int, peers: dict[str, str]) -> dict[str, str]:
    return {
        "DB_NODE_ID": node_id,
        "BIND_HOST": "127.0.0.1",
        "DB_PORT": str(port),
        "DB_PEERS": ",".join(f"{peer}={address}" for peer, address in peers.items()),
        "ORDER_EXECUTOR": "127.0.0.1:1",
        # Nodes that were away catch up by snapshots, too.
        "SNAPSHOT_ENTRIES": "200",
    }


async def run(directory: Path, *, rounds: int, seed: int) -> Report:
    """Raises AssertionError when a history is not linearizable, or there was too little traffic to tell."""
    choice = random.Random(seed)
    recorders = {key: Recorder(OPERATIONS_PER_KEY_MAX, choice) for key in KEYS}
    async with replicated("db_node", settings, directory) as processes, asyncio.TaskGroup() as clients:
        for key, recorder in recorders.items():
            for number in range(CLIENTS_PER_KEY):
                clients.create_task(_use(key, number, recorder, processes))
        faults, terms = await inflict(processes, rounds, choice)
        for recorder in recorders.values():
            recorder.end()
    for key, recorder in recorders.items():
        violation = check(RegisterModel(), without_unread_values(recorder.history.operations))
        assert violation is None, f"{key} is not linearizable (seed {seed}): {violation}"
    report = Report([recorder.history for recorder in recorders.values()], faults, terms)
    report.require(answered_min=_ANSWERED_MIN * faults)
    return report


class RegisterClient:
    """`identity`: what its writes are recognised by; another one after each write that nobody answered."""

    def __init__(self, channel: ClusterChannel, key: str, identity: str) -> None:
        self.identity = identity
        self._stub = DatabaseServiceStub(channel)  # type: ignore[arg-type]
        self._key = key
        self._sequence = 0

    async def ask(self, call: Read | Write | WriteAt) -> tuple[str | None, int] | int | None:
        """The result, as the model knows it. Raises Unavailable and DeadlineExceeded."""
        match call:
            case Read():
                return await self.read(pb.CONSISTENCY_LINEARIZABLE)
            case Write(value):
                return await self._write(value, None)
            case WriteAt(value, version):
                return await self._write(value, version)

    async def read(self, consistency: pb.Consistency.ValueType) -> tuple[str | None, int]:
        try:
            request = pb.ReadRequest(key=self._key, consistency=consistency)
            response = await self._stub.Read(request, timeout=CALL_TIMEOUT_S)
        except NotFound:
            return None, 0
        return response.entry.value.text, response.entry.version

    async def _write(self, value: str, version: int | None) -> int | None:
        self._sequence += 1
        request = pb.WriteRequest(
            key=self._key,
            value=pb.Value(text=value),
            expected_version=version,
            request_id=pb.RequestId(client_id=self.identity, sequence=self._sequence),
        )
        try:
            return (await self._stub.Write(request, timeout=CALL_TIMEOUT_S)).version
        except FailedPrecondition as error:
            if error.metadata["reason"] != "version_conflict":
                raise
            return None


async def _use(key: str, number: int, recorder: Recorder, processes: ReplicatedProcesses) -> None:
    lives = writes = version = 0
    channel = ClusterChannel(_turned(tuple(processes.addresses.values()), number))
    client = RegisterClient(channel, key, f"{key}/{number}/{lives}")
    try:
        while not recorder.is_over:
            writes += 1
            value = f"{number}.{writes}"
            call = recorder.choice.choice((Read(), Write(value), WriteAt(value, version)))
            answered, result = await recorder.perform(client.identity, call, client.ask)
            if not answered:
                lives += 1
                client = RegisterClient(channel, key, f"{key}/{number}/{lives}")
            elif isinstance(call, Read):
                version = result[1]
            await recorder.think()
    finally:
        await channel.close()


def _turned(addresses: Sequence[str], by: int) -> tuple[str, ...]:
    """So that clients do not all ask the same node first."""
    by %= len(addresses)
    return (*addresses[by:], *addresses[:by])
