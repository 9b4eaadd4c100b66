"""A local server that speaks the wire format of Google's generateContent (REST, v1), and can fail in every way.

    async with FakeGenerativeAi() as fake:
        fake.reply = says('{"risk": 10, "concern": "none"}')
        config = ...GOOGLE_API_BASE_URL=fake.url

The real client talks to it: what it sends is recorded, what it is answered is a `Reply`.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    target: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """What the user's side of the conversation says."""
        text: str = self.body["contents"][0]["parts"][0]["text"]
        return text

    @property
    def data(self) -> Any:
        """The document between the two markers."""
        first, *document, last = self.message.split("\n")
        assert first == last
        return json.loads("\n".join(document))


def response(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def candidate(text: str) -> dict[str, Any]:
    """A GenerateContentResponse with one answer."""
    return {
        "candidates": [
            {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0},
        ],
        "usageMetadata": {"promptTokenCount": 200, "candidatesTokenCount": 12, "totalTokenCount": 212},
        "modelVersion": "gemini-fake",
    }


def sends(raw: bytes) -> Reply:
    """These bytes, whatever they are, and then the end of the connection."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return reply


def says(text: str) -> Reply:
    """The model's text, as the real service wraps it."""
    return sends(response(json.dumps(candidate(text)).encode()))


def responds(body: object) -> Reply:
    """Status 200 with this JSON."""
    return sends(response(json.dumps(body).encode()))


def refuses(code: int, status: str) -> Reply:
    """An error as Google writes it, for example 429 RESOURCE_EXHAUSTED."""
    body = json.dumps({"error": {"code": code, "message": f"{status}: a secret of the server", "status": status}})
    return sends(response(body.encode(), f"{code} {status}"))


async def hangs(writer: asyncio.StreamWriter) -> None:
    """Says nothing, for ever."""
    await asyncio.Event().wait()


async def hangs_in_the_middle(writer: asyncio.StreamWriter) -> None:
    """Begins an answer and never ends it."""
    writer.write(response(b"x" * 1_000)[:-900])
    await writer.drain()
    await asyncio.Event().wait()


async def disconnects(writer: asyncio.StreamWriter) -> None:
    """Cuts the connection instead of answering."""
    writer.transport.abort()


async def floods(writer: asyncio.StreamWriter) -> None:
    """An answer without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    while not writer.is_closing():
        writer.write(chunk)
        await writer.drain()


class FakeGenerativeAi:
    """Listens on a port of its own inside `async with`."""

    def __init__(self) -> None:
        self.reply: Reply = refuses(503, "UNAVAILABLE")
        self.received: list[Received] = []
        self.arrived = asyncio.Event()
        # Set when a client leaves before it has its answer.
        self.abandoned = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def open_requests(self) -> int:
        """How many clients wait for an answer, or have not left yet."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.received.append(Received(head.split()[1], headers, body))
            self.arrived.set()
            # Whoever is connected and has its request answered once: keep-alive is the client's wish, not a duty.
            replying = asyncio.create_task(_quietly(self.reply, writer))
            leaving = asyncio.create_task(reader.read())
            try:
                await asyncio.wait((replying, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not replying.done():
                    self.abandoned.set()
            finally:
                for task in (replying, leaving):
                    task.cancel()
                await asyncio.gather(replying, leaving, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _quietly(reply: Reply, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reply(writer)
