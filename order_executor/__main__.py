"""`python -m order_executor`: one node of the executors."""

import asyncio

from order_executor.config import ExecutorConfig
from order_executor.node import ExecutorNode
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.rpc.service import run_service


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(ExecutorConfig)
    configure_logging("order_executor", config.node_id)
    await ExecutorNode(config).run(stopping)


if __name__ == "__main__":
    run_service(main)
