"""`python -m orchestrator`: serves the REST interface with one worker process and a thread for each request."""

import errno
import socket
import sys
import time

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from orchestrator.config import Config
from utils.config import ConfigError, from_environment
from utils.observe.logging import configure_logging, get_logger

log = get_logger()

# Past the longest request, so that SIGTERM lets every request end that can.
DRAIN_S_MARGIN = 3
HEADER_TIMEOUT_MS = 10_000
# The worker of a server that was killed notices, and leaves the port, well within this time.
PORT_FREE_S_MAX = 2.0

# The server's own log lines go where ours go. It advises against many threads; ours mostly wait.
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def main() -> None:
    """Status 2 for a wrong variable, 1 for a port in use or a worker that failed."""
    try:
        config = from_environment(Config)
        configure_logging("orchestrator", config.node_id)
        _check_port(config.bind_host, config.port)
    except ConfigError as error:
        print(f"configuration: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        log.error("the port cannot be used", address=config.bind_host, port=config.port, error=error.strerror)  # noqa: TRY400
        raise SystemExit(1) from None
    server = Granian(
        "orchestrator.worker:create",
        factory=True,
        address=config.bind_host,
        port=config.port,
        interface=Interfaces.WSGI,
        # One: requests with the same Idempotency-Key wait for each other inside a process.
        workers=1,
        blocking_threads=config.http_threads,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        websockets=False,
        workers_kill_timeout=round(config.checkout_wait_s) + DRAIN_S_MARGIN,
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
    )
    server.on_startup(lambda: log.info("serving", address=config.bind_host, port=config.port))
    server.serve()
    log.info("stopped")


def _check_port(host: str, port: int) -> None:
    """Raises OSError for a port in use. The server itself would share it, and each would get half of the requests."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    ends_at = time.monotonic() + PORT_FREE_S_MAX
    while True:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > ends_at:
                    raise
            else:
                return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
