"""`python -m orchestrator`: serves the REST interface with one worker process and a thread for each request."""

import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from orchestrator.config import Config
from utils.config import ConfigError, from_environment
from utils.observe.logging import configure_logging

# Past the longest request, so that SIGTERM lets every request end that can.
DRAIN_S_MARGIN = 3
HEADER_TIMEOUT_MS = 10_000

# The server's own log lines go where ours go.
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def main() -> None:
    try:
        config = from_environment(Config)
    except ConfigError as error:
        print(f"configuration: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    configure_logging("orchestrator", config.node_id)
    Granian(
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
        log_dictconfig=_LOGGING,
    ).serve()


if __name__ == "__main__":
    main()
