"""The edge with an application that only says what it was asked, and bodies that come as a test lets them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from orchestrator.edge import BODY_BYTES_MAX, PROBLEM, Edge, Limits

LARGE = b" " * 32 * 1024


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    problem = environ.get(PROBLEM)
    start_response(f"{problem.status if problem else 200} Told", [("Content-Type", "application/json")])
    body = environ["wsgi.input"].read().decode("latin-1")
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    return [json.dumps({**told, "body": body, "code": getattr(problem, "code", "")}).encode()]


class Request:
    """One that a test sends; its body comes in the parts that are put into `parts`, None for a client that leaves."""

    def __init__(
        self, *parts: bytes, path: bytes = b"/checkout", ends: bool = True, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self._parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for part in parts:
            self.sends(part)
        if ends:
            self.sends(b"", more=False)
        self.headers = [(b"transfer-encoding", b"chunked"), *headers]
        self.path = path
        self.sent: list[dict[str, Any]] = []

    def sends(self, part: bytes, *, more: bool = True) -> None:
        self._parts.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def leaves(self) -> None:
        self._parts.put_nowait({"type": "http.disconnect"})

    async def through(self, edge: Edge) -> tuple[int, dict[str, str], dict[bytes, bytes]]:
        scope = {
            "type": "http", "method": "POST", "path": self.path.decode("latin-1"), "raw_path": self.path,
            "query_string": b"", "scheme": "http", "server": ("shop", 80), "client": ("192.0.2.1", 4711),
            "headers": self.headers,
        }  # fmt: skip
        await edge(scope, self._parts.get, self._send)
        start, content = self.sent
        return start["status"], json.loads(content["body"]), dict(start["headers"])

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge(echo, Limits(body_timeout_s=0.2))
    yield edge
    await edge.close()


async def test_the_application_gets_the_whole_body_and_its_length(edge: Edge) -> None:
    status, told, headers = await Request(b"a", b"bc").through(edge)
    assert (status, told["body"], told["CONTENT_LENGTH"]) == (200, "abc", "3")
    assert "HTTP_TRANSFER_ENCODING" not in told
    assert headers[b"content-type"] == b"application/json"


async def test_a_header_cannot_pass_for_another_one(edge: Edge) -> None:
    headers = [(b"content_length", b"7"), (b"idempotency_key", b"x"), (b"prefer", b"a"), (b"prefer", b"b")]
    _, told, _ = await Request(b"abc", headers=headers).through(edge)
    assert told["CONTENT_LENGTH"] == "3"
    assert "HTTP_IDEMPOTENCY_KEY" not in told
    assert told["HTTP_PREFER"] == "a,b"


async def test_a_path_keeps_its_bytes(edge: Edge) -> None:
    _, told, _ = await Request(path=b"/a%2Fb/%C3%A9%ff").through(edge)
    assert told["PATH_INFO"].encode("latin-1") == b"/a/b/\xc3\xa9\xff"


async def test_a_body_that_does_not_come_is_408_and_the_connection_ends(edge: Edge) -> None:
    status, told, headers = await Request(b"{", ends=False).through(edge)
    assert (status, told["code"], headers[b"connection"]) == (408, "body_too_slow", b"close")


async def test_a_body_that_ends_early_is_never_taken_for_a_whole_one(edge: Edge) -> None:
    request = Request(b'{"items": []}', ends=False)
    request.leaves()
    status, told, _ = await request.through(edge)
    assert (status, told["code"]) == (400, "body_invalid")


async def test_a_body_is_bounded_whether_it_says_its_length_or_not(edge: Edge) -> None:
    announced = Request(ends=False, headers=[(b"content-length", str(BODY_BYTES_MAX + 1).encode())])
    for request in (Request(b" " * BODY_BYTES_MAX, b" "), announced):
        status, told, _ = await request.through(edge)
        assert (status, told["code"]) == (413, "body_too_large")
    assert (await Request(b" " * BODY_BYTES_MAX).through(edge))[0] == 200


async def test_large_bodies_that_never_end_leave_room_for_orders_and_give_their_places_back(edge: Edge) -> None:
    large = [asyncio.create_task(Request(LARGE, ends=False).through(edge)) for _ in range(100)]
    await asyncio.sleep(0)
    assert (await Request(b"{}").through(edge))[0] == 200
    answers = [(status, told["code"]) for status, told, _ in await asyncio.gather(*large)]
    assert set(answers) == {(408, "body_too_slow"), (503, "overloaded")}
    assert answers.count((408, "body_too_slow")) == 64
    assert (await Request(LARGE, b"{}").through(edge))[0] == 200
