"""Runs a servicer's method for a call, however the call arrived, and turns whatever it raises into the error table."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from utils.identity.spiffe import Identity
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.rpc.errors import DeadlineExceeded, Internal, ServiceError

log = get_logger()


class CallContext:
    """What a servicer may know of a call."""

    def __init__(self, deadline: float, caller: Identity | None = None) -> None:
        """`caller`: None in clear text."""
        self._deadline = deadline
        self.caller = caller

    def time_remaining(self) -> float:
        """Seconds until the caller gives up."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())


async def run_unary(
    method: str,
    behaviour: Callable[[Any, Any], Awaitable[Any]],
    request: Any,
    timeout_s: float,
    caller: Identity | None = None,
) -> Any:
    """The method's response. Raises ServiceError, whatever the method raised, and CancelledError."""
    count(f"rpc.server.{method}")
    context = CallContext(asyncio.get_running_loop().time() + timeout_s, caller)
    try:
        async with asyncio.timeout(timeout_s) as scope:
            return await behaviour(request, context)
    except ServiceError:
        raise
    except TimeoutError:
        if scope.expired():
            raise DeadlineExceeded(f"{method} did not end within {timeout_s:.3f} s") from None
        log.exception("a call failed", method=method)
        raise Internal(f"{method} failed; the service's log says why") from None
    except Exception:
        log.exception("a call failed", method=method)
        raise Internal(f"{method} failed; the service's log says why") from None
