"""The client side of every internal call: a channel that generated stubs take as they take gRPC's own.

All unary calls to one peer ride one bidirectional stream, in batches (utils/pb/multiplex.proto). Every call names its
timeout, and ends with the peer's answer or with one of `utils.rpc.errors`.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.rpc import status_pb2

from utils.observe.counters import count
from utils.pb import multiplex_pb2, multiplex_pb2_grpc
from utils.rpc.errors import DeadlineExceeded, Unavailable, from_status
from utils.rpc.outbox import Outbox
from utils.rpc.transport import Credentials, open_channel, own_credentials

# A peer that is stopped (SIGSTOP) or cut off accepts small writes for a long time; only its silence tells.
PING_INTERVAL_S = 0.5
SILENCE_S_MAX = 1.5

UnaryCall = Callable[..., Awaitable[Any]]


class Channel:
    """To one peer, at host:port. Connects when first used, reconnects by itself; belongs to one event loop."""

    def __init__(self, address: str, credentials: Credentials | None = None) -> None:
        self.address = address
        self._credentials = credentials or own_credentials()
        self._ending: set[asyncio.Task[None]] = set()
        self._stream: _Stream | None = None
        self._open()

    def unary_unary(
        self, method: str, request_serializer: Any, response_deserializer: Any, **_generated: Any
    ) -> UnaryCall:
        """Called by generated stubs."""

        async def call(request: Any, *, timeout: float) -> Any:
            return response_deserializer(await self.call(method, request_serializer(request), timeout_s=timeout))

        return call

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """Called by generated stubs: a stream of its own, as gRPC gives it."""
        return self._grpc_channel.stream_stream(*arguments, **options)

    stream_unary = unary_stream = stream_stream

    async def call(self, method: str, request: bytes, *, timeout_s: float) -> bytes:
        """The response's bytes. Raises what the peer raised, Unavailable, or DeadlineExceeded."""
        if timeout_s <= 0:
            raise DeadlineExceeded(f"{method} was not called: no time was left")
        count("rpc.client.calls")
        silent = self._stream is not None and self._stream.fell_silent
        if silent or self._version is not self._credentials.version:
            self._replace()
        if trouble := self._credentials.trouble():
            raise Unavailable(f"{method} was not called: {trouble}")
        if self._stream is None or self._stream.ended:
            self._stream = _Stream(self.address, self._exchange())
        return await self._stream.call(method, request, timeout_s)

    async def close(self) -> None:
        """Ends the calls in progress with Unavailable."""
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._stream is not None:
            await self._stream.close()
        await self._grpc_channel.close()

    def _open(self) -> None:
        self._version = self._credentials.version
        self._grpc_channel = open_channel(self.address, self._credentials)
        self._exchange = multiplex_pb2_grpc.MultiplexServiceStub(self._grpc_channel).Exchange

    def _replace(self) -> None:
        """New calls go over a new connection, and those in progress end on theirs.

        For renewed credentials, and for a connection that may lead nowhere: when one of its ends has moved to another
        address, TCP would say so a quarter of an hour later.
        """
        task = asyncio.create_task(_end(self._stream, self._grpc_channel))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._stream = None
        self._open()


async def _end(stream: "_Stream | None", grpc_channel: grpc.aio.Channel) -> None:
    try:
        if stream is not None:
            await stream.idle()
    finally:
        if stream is not None:
            await stream.close()
        await grpc_channel.close()


class _Stream:
    """One life of the stream to a peer: it ends for good at its first failure, and so do the calls on it."""

    def __init__(self, address: str, exchange: Any) -> None:
        self._address = address
        self._exchange = exchange
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._outbox: Outbox[multiplex_pb2.CallBatch] = Outbox()
        self._heard_at = asyncio.get_running_loop().time()
        self.ended = False
        self.fell_silent = False
        self._task = asyncio.create_task(self._run())

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        call_id = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        if not self._pending:
            # An idle stream is not pinged, so its silence counts from here.
            self._heard_at = asyncio.get_running_loop().time()
        self._pending[call_id] = future
        call = multiplex_pb2.Call(id=call_id, method=method, request=request, timeout_ms=max(1, int(timeout_s * 1000)))
        self._outbox.put(multiplex_pb2.CallBatch(calls=[call]))
        answered = False
        try:
            async with asyncio.timeout(timeout_s):
                response: bytes = await future
                answered = True
                return response
        except TimeoutError:
            raise DeadlineExceeded(f"{method} at {self._address} did not answer within {timeout_s:.3f} s") from None
        finally:
            if self._pending.pop(call_id, None) is not None and not answered and not self.ended:
                self._outbox.put(multiplex_pb2.CallBatch(cancelled=[call_id]))

    async def idle(self) -> None:
        """Waits until no call is in progress on it. There must come no more."""
        while self._pending:
            await asyncio.wait(list(self._pending.values()))
            # Whoever waited for them takes them out.
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        tasks = [asyncio.create_task(part()) for part in (self._write, self._read, self._watch)]
        why = "the channel was closed"
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            error = next((task.exception() for task in done if task.exception()), None)
            why = error.details() or "no reason given" if isinstance(error, grpc.aio.AioRpcError) else str(error)
        finally:
            self.ended = True
            for task in tasks:
                task.cancel()
            self._exchange.cancel()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(Unavailable(f"{self._address} is not available: {why}"))
            self._pending.clear()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            batch = multiplex_pb2.CallBatch()
            for part in await self._outbox.take():
                batch.MergeFrom(part)
            count("rpc.client.messages")
            try:
                await self._exchange.write(batch)
            except asyncio.InvalidStateError:
                # gRPC's way of saying that the stream has ended; the reader knows why.
                await asyncio.Event().wait()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        async for batch in self._exchange:
            self._heard_at = loop.time()
            for outcome in batch.outcomes:
                future = self._pending.pop(outcome.id, None)
                if future is None or future.done():
                    continue
                if outcome.WhichOneof("result") == "status":
                    future.set_exception(from_status(status_pb2.Status.FromString(outcome.status)))
                else:
                    future.set_result(outcome.response)
        raise Unavailable("the peer ended the stream")

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            woken_at = loop.time()
            await asyncio.sleep(PING_INTERVAL_S)
            if not self._pending:
                continue
            # Only our own process's silence makes this tick late: then the peer has not been listened to.
            late = loop.time() - woken_at > 2 * PING_INTERVAL_S
            if late:
                self._heard_at = loop.time()
            if loop.time() - self._heard_at > SILENCE_S_MAX:
                self.fell_silent = True
                raise Unavailable(f"silent for {SILENCE_S_MAX} s")
            self._outbox.put(multiplex_pb2.CallBatch(ping=number))
