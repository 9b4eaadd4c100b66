"""`python -m orchestrator`: serves the REST interface. One event loop reads requests; each then has a thread."""

import asyncio
import os
import resource
import socket
import threading

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from orchestrator.composition import compose
from orchestrator.config import Config
from orchestrator.deadline import LatestEnd
from orchestrator.edge import Edge, Limits
from utils.config import from_environment
from utils.observe.logging import configure_logging, get_logger
from utils.rpc.service import run_service

log = get_logger()

# A container is killed 10 s after it was asked to stop: until then every request that came before has its answer.
DRAIN_S = 7.0
STOP_S_MAX = 9.0
# Answers are on their way when the server is told to end; it closes idle connections at once.
SERVER_END_S = 0.5
HEADER_TIMEOUT_MS = 10_000
HEADER_BYTES_MAX = 16 * 1024
BACKLOG = 1024
# Beside those of clients: to the other services, logs, the event loops.
_OTHER_FILES = 256

# The server's own log lines go where ours go.
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


async def main(stopping: asyncio.Event) -> None:
    """Raises ConfigError; RuntimeError where the port is in use."""
    config = from_environment(Config)
    configure_logging("orchestrator", config.node_id)
    _check_port(config.bind_host, config.port)
    _allow_open_files(config.http_connections + _OTHER_FILES)
    latest = LatestEnd()
    app, closing = compose(config, latest)
    limits = Limits(config.http_threads, config.http_threads_per_address, config.body_timeout_s)
    edge = Edge(app.wsgi_app, limits)
    server = Server(
        edge,
        address=config.bind_host,
        port=config.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BYTES_MAX),
        websockets=False,
        backlog=BACKLOG,
        backpressure=config.http_connections,
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
    )
    server.on_startup(lambda: log.info("serving", address=config.bind_host, port=config.port))
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
        raise RuntimeError("the server ended by itself")
    _end_within(STOP_S_MAX)
    latest.move_to(DRAIN_S)
    # Takes no more connections; those that are idle are closed, and requests in progress end.
    server.stop()  # type: ignore[no-untyped-call]
    await edge.drained()
    # Its own end sometimes waits for a connection that is gone already.
    await asyncio.wait((serving,), timeout=SERVER_END_S)
    await edge.close()
    closing.close()
    log.info("stopped")


def _check_port(host: str, port: int) -> None:
    """The server itself would share a port in use, and each of the two would get half of the requests."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise RuntimeError(f"port {port} of {host} cannot be used: {error.strerror}") from error


def _allow_open_files(count: int) -> None:
    """As far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_within(timeout_s: float) -> None:
    """Whatever hangs: better ended by ourselves, and told, than killed."""

    def end() -> None:
        log.error("requests or calls did not end in time and are cut off")
        os._exit(1)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    run_service(main)
