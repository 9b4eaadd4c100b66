"""A Raft node as a process of its own, which proposes numbered commands for as long as it leads.

It tells on standard output what happens, one line each: `follows LEADER TERM`, `acknowledged COMMAND`;
at SIGTERM `applied COMMAND` for each one in its journal, then `end`.
"""

import asyncio

from tests.support.journal import Journal
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.raft.config import RaftConfig
from utils.raft.errors import RaftError
from utils.raft.io.node import RaftNode
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service

_AT_ONCE = 8


def tell(*words: object) -> None:
    print(*words, flush=True)


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(RaftConfig)
    configure_logging("raft", config.node_id)
    machine = Journal()
    node = RaftNode(config, machine)
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    node.add_to(server)
    await node.start()
    await server.start()
    tasks = [asyncio.create_task(_tell_changes(node)), asyncio.create_task(_propose(node))]
    await stopping.wait()
    for task in tasks:
        task.cancel()
    await node.stop()
    await server.stop()
    for command in machine.commands:
        tell("applied", command.decode())
    tell("end")


async def _tell_changes(node: RaftNode) -> None:
    while True:
        change = node.changed()
        status = node.status
        if status.leader_id not in (None, status.node_id):
            tell("follows", status.leader_id, status.term)
        await change


async def _propose(node: RaftNode) -> None:
    count = 0
    while True:
        change = node.changed()
        if not node.status.ready:
            await change
            continue
        change.close()
        commands = [f"{node.status.node_id}/{node.status.term}/{number}" for number in range(count, count + _AT_ONCE)]
        count += _AT_ONCE
        await asyncio.gather(*(_propose_one(node, command) for command in commands))
        # Not as fast as it can: other tests want the machine, too.
        await asyncio.sleep(0.005)


async def _propose_one(node: RaftNode, command: str) -> None:
    try:
        await node.propose(command.encode(), timeout_s=5)
    except RaftError:
        return
    else:
        tell("acknowledged", command)


if __name__ == "__main__":
    run_service(main)
