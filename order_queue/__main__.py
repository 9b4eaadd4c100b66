"""`python -m order_queue`: one node of the order queue."""

import asyncio

from order_queue.config import QueueConfig
from order_queue.node import QueueNode
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.rpc.service import run_service


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(QueueConfig)
    configure_logging("order_queue", config.node_id)
    node = QueueNode(config)
    await node.start()
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((stopped, node.failed), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    await node.stop()
    if node.failed.done():
        await node.failed


if __name__ == "__main__":
    run_service(main)
