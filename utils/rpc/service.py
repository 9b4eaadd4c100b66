"""How every gRPC service process runs: one event loop, until a signal."""

import asyncio
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from utils.config import ConfigError, from_environment
from utils.formats import FormatTooNewError
from utils.identity.config import TlsConfig
from utils.observe.logging import get_logger
from utils.rpc.transport import credentials_from, use_credentials

log = get_logger()


def run_service(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Runs `main(stopping)` until it returns. SIGTERM and SIGINT set `stopping`; main then drains and returns.

    Channels and servers have the certificate that the environment names (utils/identity). A configuration error, and
    data of a later format, end the process with status 2 and one line; any other error with status 1 and its traceback.
    """

    async def run() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, stopping.set)
        use_credentials(credentials_from(from_environment(TlsConfig)))
        await main(stopping)

    # Memory holds card numbers and keys: no core file of it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        uvloop.run(run())
    except ConfigError as error:
        print(f"configuration: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except FormatTooNewError as error:
        print(f"data: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception:
        log.exception("the service ended with an error")
        raise SystemExit(1) from None
