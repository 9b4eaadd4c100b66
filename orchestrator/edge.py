"""What every request passes before the application sees it: an ASGI application over a WSGI one.

A request is read on one event loop, whole, within a time and a size: a slow client costs a connection, and no thread.
Only then does it take one of a bounded number of threads, of which no address may have more than its share. A request
that finds none is refused after a little wait, so that a flood is slow by itself.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from wsgiref.types import WSGIApplication

from orchestrator.problems import BodyInvalid, BodyTooLarge, BodyTooSlow, Overloaded, Problem, TooManyRequests
from orchestrator.wsgi import Answer, call, environ
from utils.observe.logging import get_logger

log = get_logger()

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_BYTES_MAX: Final = 256 * 1024
# Hardly an order is larger. So many of those that are may be read at once, and floods of them fill no memory.
_LARGE_BODY_BYTES: Final = 16 * 1024
_LARGE_BODIES_MAX: Final = 64
# Before a refusal for load is told.
_REFUSAL_PAUSE_S: Final = 0.2
_LOG_INTERVAL_S: Final = 1.0
# Answered on the event loop, however many requests run: it asks nobody else.
_LIVENESS_PATH: Final = "/healthz"
# Where the application finds the problem that it should answer with.
PROBLEM: Final = "bookstore.problem"


@dataclass(frozen=True)
class Limits:
    """Of what is in progress at once."""

    requests_max: int = 256
    requests_per_address_max: int = 128
    body_timeout_s: float = 5.0


class Edge:
    """Lives on one event loop; the application runs in threads."""

    def __init__(self, app: WSGIApplication, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.requests_max, thread_name_prefix="request")
        self._running = 0
        self._running_of: Counter[str] = Counter()
        self._large_bodies = 0
        # Requests that have no answer yet, their bodies read or not.
        self._open = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        # By code, since they were last logged.
        self._refused: Counter[str] = Counter()

    async def drained(self) -> None:
        """Waits until every request that came has its answer."""
        await self._is_idle.wait()

    async def close(self) -> None:
        """Waits until no request runs any more; also those whose clients have left."""
        await asyncio.to_thread(self._threads.shutdown)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI 3, for scopes of type "http"."""
        self._open += 1
        self._is_idle.clear()
        try:
            answer = await self._answer(scope, receive)
            headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
        finally:
            self._open -= 1
            if not self._open:
                self._is_idle.set()

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer:
        try:
            body = await self._body(scope, receive)
        except Problem as problem:
            answer = self._refusal(scope, problem)
            # What was not read of the body would be taken for the next request.
            answer.headers.append(("Connection", "close"))
            return answer
        variables = environ(scope, body)
        if scope["path"] == _LIVENESS_PATH:
            return call(self._app, variables)
        try:
            with self._place(scope["client"][0]):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call, self._app, variables)
        except (TooManyRequests, Overloaded) as problem:
            await asyncio.sleep(_REFUSAL_PAUSE_S)
            return self._refusal(scope, problem)

    def _refusal(self, scope: dict[str, Any], problem: Problem) -> Answer:
        """The application itself tells it, so that all errors look alike; it does nothing for it that blocks."""
        if not self._refused:
            asyncio.get_running_loop().call_later(_LOG_INTERVAL_S, self._log_refused)
        self._refused[problem.code] += 1
        return call(self._app, environ(scope, b"") | {PROBLEM: problem})

    def _log_refused(self) -> None:
        log.warning("requests were refused at the edge", **self._refused)
        self._refused.clear()

    @contextmanager
    def _place(self, address: str) -> Iterator[None]:
        """Raises TooManyRequests, Overloaded."""
        if self._running_of[address] >= self._limits.requests_per_address_max:
            raise TooManyRequests("There are too many requests in progress from your address. Please try again.")
        if self._running >= self._limits.requests_max:
            raise Overloaded("There are more requests than we can take; this one was not. Please try again.")
        self._running += 1
        self._running_of[address] += 1
        try:
            yield
        finally:
            self._running -= 1
            self._running_of[address] -= 1
            if not self._running_of[address]:
                del self._running_of[address]

    async def _body(self, scope: dict[str, Any], receive: Receive) -> bytes:
        """Raises BodyTooLarge, BodyTooSlow, BodyInvalid, Overloaded."""
        headers = dict(scope["headers"])
        if b"transfer-encoding" not in headers and b"content-length" not in headers:
            return b""
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > BODY_BYTES_MAX:
            raise _too_large()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await self._read(receive)
        except TimeoutError:
            raise BodyTooSlow(
                f"The body did not come within {self._limits.body_timeout_s:g} s; nothing was ordered."
            ) from None

    async def _read(self, receive: Receive) -> bytes:
        body, large = bytearray(), False
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyInvalid("The body ended too early, or was not framed as it should be.")
                body += message["body"]
                if len(body) > BODY_BYTES_MAX:
                    raise _too_large()
                if not message["more_body"]:
                    return bytes(body)
                if len(body) > _LARGE_BODY_BYTES and not large:
                    if self._large_bodies >= _LARGE_BODIES_MAX:
                        raise Overloaded("There are too many large requests just now; this one was not read.")
                    self._large_bodies += 1
                    large = True
        finally:
            self._large_bodies -= large


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The body should have at most {BODY_BYTES_MAX} bytes.")
