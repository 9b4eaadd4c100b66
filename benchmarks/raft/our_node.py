"""One node of utils.raft, with its proposers inside it, and a unary RPC beside them."""

import asyncio

import grpc
import msgspec

from benchmarks.raft.load import Load, drive, key_of
from benchmarks.raft.worker import obey
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.raft.config import RaftConfig
from utils.raft.errors import RaftError
from utils.raft.io.node import RaftNode
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service

SERVICE, METHOD = "bench.Commands", "Propose"
_TIMEOUT_S = 10.0


class LatestCommands:
    """The newest command of each key."""

    def __init__(self) -> None:
        self._latest: dict[bytes, bytes] = {}

    def apply(self, index: int, command: bytes) -> int:
        self._latest[key_of(command)] = command
        return index

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self._latest)

    def restore(self, snapshot: bytes) -> None:
        self._latest = msgspec.msgpack.decode(snapshot, type=dict[bytes, bytes])


class OurNode:
    def __init__(self, node: RaftNode) -> None:
        self._node = node

    async def propose(self, command: bytes) -> None:
        await self._node.propose(command, timeout_s=_TIMEOUT_S)

    async def settle(self) -> None:
        while self._node.status.leader_id is None:
            await self._node.changed()

    async def commit(self) -> None:
        while True:
            change = self._node.changed()
            if self._node.status.ready:
                change.close()
                try:
                    return await self.propose(bytes(8))
                except RaftError:
                    continue
            await change

    async def load(self, in_flight: int, load: Load) -> None:
        await drive(self.propose, in_flight, load)


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(RaftConfig)
    configure_logging("bench", config.node_id)
    node = RaftNode(config, LatestCommands())
    ours = OurNode(node)
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    node.add_to(server)

    async def propose(request: bytes, context: object) -> bytes:
        await ours.propose(request)
        return b""

    server.add_registered_method_handlers(SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(propose)})
    await node.start()
    await server.start()
    orders = asyncio.create_task(obey(ours))
    await asyncio.wait((orders, asyncio.create_task(stopping.wait())), return_when=asyncio.FIRST_COMPLETED)
    await node.stop()
    await server.stop(grace_s=0)


if __name__ == "__main__":
    run_service(main)
