"""Serves the page: `python -m frontend`."""

import asyncio

from frontend.config import Config
from frontend.server import PageServer
from utils.config import from_environment
from utils.observe.logging import configure_logging, get_logger
from utils.rpc.service import run_service

log = get_logger()


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(Config)
    configure_logging("frontend", config.node_id)
    server = PageServer(config.bind_host, config.port, config.orchestrator_port)
    server.start()
    log.info("serving", address=config.bind_host, port=server.port)
    await stopping.wait()
    server.stop()


if __name__ == "__main__":
    run_service(main)
