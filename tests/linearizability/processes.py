"""Three processes of a replicated service, with a network between them that can be cut, and faults for both."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.support.network import Network
from tests.support.raft_cluster import free_ports
from utils.pb.raft_pb2 import GetRaftStatusRequest, GetRaftStatusResponse
from utils.pb.raft_pb2_grpc import RaftServiceStub
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError

# Generous: reached only when something is broken.
WAIT_S_MAX = 30.0
_LOOK_AGAIN_S = 0.05
_STATUS_TIMEOUT_S = 0.5


class ReplicatedProcesses:
    """`addresses`: where clients find the nodes. Clients are not behind the network that can be cut."""

    def __init__(
        self, module: str, settings_of: Callable[[str, int, dict[str, str]], dict[str, str]], directory: Path
    ) -> None:
        """`settings_of(node id, port, peers)`: the environment of a node."""
        self.node_ids = ("node_1", "node_2", "node_3")
        ports = dict(zip(self.node_ids, free_ports(len(self.node_ids)), strict=True))
        self.addresses = {node_id: f"127.0.0.1:{port}" for node_id, port in ports.items()}
        self.network = Network(self.node_ids, lambda: self.addresses)
        self._module = module
        self._settings_of = settings_of
        self._ports = ports
        self._directory = directory
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, node_id: str) -> None:
        settings = self._settings_of(node_id, self._ports[node_id], self.addresses)
        settings |= {"DATA_DIR": str(self._directory / node_id), **self.network.settings_of(node_id)}
        with (self._directory / f"{node_id}.log").open("ab") as log:
            self._processes[node_id] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, env={**os.environ, **settings}, stderr=log
            )

    async def kill(self, node_id: str) -> None:
        process = self._processes.pop(node_id)
        process.kill()
        await process.wait()

    def signal(self, node_id: str, number: signal.Signals) -> None:
        self._processes[node_id].send_signal(number)

    async def leader(self) -> GetRaftStatusResponse:
        """The status of the node that leads in the highest term, and is ready; waits for one."""
        async with asyncio.timeout(WAIT_S_MAX):
            while True:
                statuses = await asyncio.gather(*(self._status(address) for address in self.addresses.values()))
                ready = [status for status in statuses if status is not None and status.ready]
                if ready:
                    return max(ready, key=lambda status: status.term)
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def close(self) -> None:
        for node_id in list(self._processes):
            await self.kill(node_id)
        await self.network.close()

    async def _status(self, address: str) -> GetRaftStatusResponse | None:
        channel = Channel(address)
        try:
            stub = RaftServiceStub(channel)  # type: ignore[arg-type]
            return await stub.GetRaftStatus(GetRaftStatusRequest(), timeout=_STATUS_TIMEOUT_S)
        except ServiceError:
            return None
        finally:
            await channel.close()


@contextlib.asynccontextmanager
async def replicated(
    module: str, settings_of: Callable[[str, int, dict[str, str]], dict[str, str]], directory: Path
) -> AsyncIterator[ReplicatedProcesses]:
    """Starts all; entered once one leads."""
    processes = ReplicatedProcesses(module, settings_of, directory)
    await processes.network.start()
    try:
        for node_id in processes.node_ids:
            await processes.start(node_id)
        await processes.leader()
        yield processes
    finally:
        await processes.close()
