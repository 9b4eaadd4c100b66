"""`python -m db_node`: one node of the database."""

import asyncio

from db_node.config import DatabaseConfig
from db_node.node import DatabaseNode
from utils.catalogue import load_catalogue
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.rpc.service import run_service


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(DatabaseConfig)
    configure_logging("db_node", config.node_id)
    node = DatabaseNode(config, load_catalogue())
    await node.start()
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((stopped, node.failed), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    await node.stop()
    if node.failed.done():
        await node.failed


if __name__ == "__main__":
    run_service(main)
