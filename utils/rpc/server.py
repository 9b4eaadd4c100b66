"""The server side of every internal call: gRPC as everybody knows it, and the same methods multiplexed on streams."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from utils.config import ConfigError
from utils.identity.certificate import Certificate
from utils.identity.spiffe import Identity
from utils.observe.counters import count, counters
from utils.observe.logging import get_logger
from utils.pb import introspection_pb2, introspection_pb2_grpc, multiplex_pb2, multiplex_pb2_grpc
from utils.rpc.dispatch import run_unary
from utils.rpc.errors import InvalidArgument, ResourceExhausted, ServiceError, Unavailable, Unimplemented, to_status
from utils.rpc.gate import Gate, certificate_of
from utils.rpc.outbox import Outbox
from utils.rpc.transport import SERVER_OPTIONS, Credentials, bind, own_credentials

log = get_logger()

# A caller that sets no deadline gets this one.
TIMEOUT_S_DEFAULT = 30.0
# Calls that one stream may have running: far above what any neighbour needs.
CALLS_RUNNING_MAX = 4_096
# As gRPC calls the kinds of methods that are no unary ones.
_STREAMS = ("unary_stream", "stream_unary", "stream_stream")


class RpcServer:
    """Serves gRPC services on one address.

    server = RpcServer("0.0.0.0:50051", node_id="order_queue_1")
    add_OrderQueueServiceServicer_to_server(servicer, server)
    await server.start()
    """

    def __init__(self, bind_address: str, *, node_id: str, credentials: Credentials | None = None) -> None:
        credentials = credentials or own_credentials()
        self._gate = Gate(credentials.identity)
        _check_identity(credentials.identity, node_id)
        self._grpc_server = grpc.aio.server(options=SERVER_OPTIONS)
        self._handlers: dict[str, Any] = {}
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self)
        introspection_pb2_grpc.add_IntrospectionServiceServicer_to_server(_Introspection(node_id), self)  # type: ignore[arg-type]
        self._stopping = asyncio.Event()
        multiplex = _Multiplex(self._handlers, self._gate, self._stopping)
        multiplex_pb2_grpc.add_MultiplexServiceServicer_to_server(multiplex, self)  # type: ignore[arg-type]
        self._bind_address = bind_address
        self.port = bind(self._grpc_server, bind_address, credentials)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Part of what generated code calls; add_registered_method_handlers gets the same methods by name."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Called by generated code for each servicer."""
        wrapped = {}
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            if handler.unary_unary is not None:
                self._handlers[method] = handler
                wrapped[name] = handler._replace(unary_unary=self._plain_unary(method, handler.unary_unary))
            else:
                kind = next(kind for kind in _STREAMS if getattr(handler, kind) is not None)
                wrapped[name] = handler._replace(**{kind: self._stream(method, getattr(handler, kind))})
        self._grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    async def start(self) -> None:
        """Answers calls; health says NOT_SERVING until set_serving(True)."""
        await self.set_serving(False)
        await self._grpc_server.start()
        log.info("serving", address=self._bind_address, port=self.port)

    async def set_serving(self, serving: bool, part: str = "") -> None:
        """What the health service answers (grpc.health.v1): for the process, or for a part of it by name."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(part, status)

    async def stop(self, grace_s: float = 2.0) -> None:
        """Takes no new calls, and gives those in progress `grace_s` seconds to end."""
        self._stopping.set()
        await self._health.enter_graceful_shutdown()
        await self._grpc_server.stop(grace_s)

    def _plain_unary(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        async def handle(request: Any, context: Any) -> Any:
            remaining = context.time_remaining()
            timeout_s = TIMEOUT_S_DEFAULT if remaining is None else remaining
            try:
                caller = self._admitted(method, context)
                return await run_unary(method, behaviour, request, timeout_s, caller)
            except ServiceError as error:
                await _abort(context, error)

        return handle

    def _stream(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        async def generate(request: Any, context: Any) -> Any:
            try:
                self._admitted(method, context)
            except ServiceError as error:
                await _abort(context, error)
            async with contextlib.aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    yield response

        async def handle(request: Any, context: Any) -> Any:
            try:
                self._admitted(method, context)
            except ServiceError as error:
                await _abort(context, error)
            return await behaviour(request, context)

        return generate if inspect.isasyncgenfunction(behaviour) else handle

    def _admitted(self, method: str, context: Any) -> Identity | None:
        """Who calls. Raises Unauthenticated and PermissionDenied."""
        certificate = certificate_of(context)
        self._gate.admit(certificate, method)
        return certificate.identity if certificate is not None else None


def _check_identity(identity: Identity | None, node_id: str) -> None:
    if identity is not None and identity.node_id != node_id:
        raise ConfigError(f"the certificate in TLS_DIR is for {identity.uri}, and this process is {node_id}")


async def _abort(context: Any, error: ServiceError) -> NoReturn:
    status = to_status(error)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(grpc.StatusCode(_grpc_status(status.code)), status.message)
    raise AssertionError("abort raises")


def _grpc_status(code: int) -> tuple[int, str]:
    return next(status.value for status in grpc.StatusCode if status.value[0] == code)


class _Introspection(introspection_pb2_grpc.IntrospectionServiceServicer):
    def __init__(self, node_id: str) -> None:
        self._node_id = node_id

    async def GetCounters(self, request: Any, context: Any) -> introspection_pb2.GetCountersResponse:
        return introspection_pb2.GetCountersResponse(node_id=self._node_id, counters=counters())


class _Multiplex(multiplex_pb2_grpc.MultiplexServiceServicer):
    def __init__(self, handlers: dict[str, Any], gate: Gate, stopping: asyncio.Event) -> None:
        self._handlers = handlers
        self._gate = gate
        self._stopping = stopping

    async def Exchange(
        self, request_iterator: AsyncIterator[multiplex_pb2.CallBatch], context: Any
    ) -> AsyncIterator[multiplex_pb2.OutcomeBatch]:
        session = _Session(self._handlers, self._gate, certificate_of(context), self._stopping)
        ends = [asyncio.create_task(session.read(request_iterator)), asyncio.create_task(session.drained())]
        for end in ends:
            end.add_done_callback(lambda _: session.outbox.close())
        try:
            while outcomes := await session.outbox.take():
                yield session.batch(outcomes)
        finally:
            for end in ends:
                end.cancel()
            session.cancel_all()


class _Session:
    """The calls of one stream. They end with it: nobody is left to hear their outcomes."""

    def __init__(
        self, handlers: dict[str, Any], gate: Gate, caller: Certificate | None, stopping: asyncio.Event
    ) -> None:
        self._handlers = handlers
        self._gate = gate
        self._caller = caller
        self._stopping = stopping
        self._running: dict[int, asyncio.Task[None]] = {}
        # An outcome, or the payload of a ping.
        self.outbox: Outbox[multiplex_pb2.Outcome | int] = Outbox()

    async def read(self, batches: AsyncIterator[multiplex_pb2.CallBatch]) -> None:
        """Starts the calls that come, until the caller ends the stream."""
        async for batch in batches:
            count("rpc.server.messages")
            for call in batch.calls:
                self._start(call)
            for call_id in batch.cancelled:
                if task := self._running.get(call_id):
                    task.cancel()
            if batch.HasField("ping"):
                self.outbox.put(batch.ping)

    async def drained(self) -> None:
        """Returns once the server stops and the calls that it had taken have ended."""
        await self._stopping.wait()
        if self._running:
            await asyncio.wait(self._running.values())

    def batch(self, messages: list[multiplex_pb2.Outcome | int]) -> multiplex_pb2.OutcomeBatch:
        batch = multiplex_pb2.OutcomeBatch()
        for message in messages:
            if isinstance(message, int):
                batch.pong = message
            else:
                batch.outcomes.append(message)
        return batch

    def cancel_all(self) -> None:
        for task in self._running.values():
            task.cancel()

    def _start(self, call: multiplex_pb2.Call) -> None:
        task = asyncio.create_task(self._run(call))
        self._running[call.id] = task
        task.add_done_callback(lambda _: self._running.pop(call.id, None))

    async def _run(self, call: multiplex_pb2.Call) -> None:
        outcome = multiplex_pb2.Outcome(id=call.id)
        try:
            outcome.response = await self._respond(call)
        except ServiceError as error:
            outcome.status = to_status(error).SerializeToString()
        except asyncio.CancelledError:
            # The caller has given up. Raised further, it would keep the frames of the call, and so its request, alive
            # until the next one is cancelled.
            return
        self.outbox.put(outcome)

    async def _respond(self, call: multiplex_pb2.Call) -> bytes:
        if self._stopping.is_set():
            raise Unavailable("the service is stopping")
        if len(self._running) > CALLS_RUNNING_MAX:
            raise ResourceExhausted(f"{CALLS_RUNNING_MAX} calls are running on this stream")
        self._gate.admit(self._caller, call.method)
        handler = self._handlers.get(call.method)
        if handler is None:
            raise Unimplemented(f"{call.method} is not served here")
        try:
            request = handler.request_deserializer(call.request)
        except Exception as error:
            raise InvalidArgument(f"{call.method}: the request cannot be decoded") from error
        timeout_s = call.timeout_ms / 1_000 if call.timeout_ms else TIMEOUT_S_DEFAULT
        caller = self._caller.identity if self._caller is not None else None
        response = await run_unary(call.method, handler.unary_unary, request, timeout_s, caller)
        data: bytes = handler.response_serializer(response)
        return data
