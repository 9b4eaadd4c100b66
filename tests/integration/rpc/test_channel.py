"""Calls over a real socket: results, errors, deadlines, cancellation, and peers that go away."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import status_pb2

from tests.integration.rpc.payment_double import PaymentDouble
from utils.pb import payment_pb2, payment_pb2_grpc
from utils.rpc import errors
from utils.rpc.channel import Channel
from utils.rpc.server import RpcServer

Get = payment_pb2.GetPaymentRequest


async def serve(double: PaymentDouble, address: str = "127.0.0.1:0") -> RpcServer:
    server = RpcServer(address, node_id="payment-service")
    payment_pb2_grpc.add_PaymentServiceServicer_to_server(double, server)  # type: ignore[arg-type]
    await server.start()
    return server


@pytest.fixture
async def double() -> PaymentDouble:
    return PaymentDouble()


@pytest.fixture
async def server(double: PaymentDouble) -> AsyncIterator[RpcServer]:
    server = await serve(double)
    yield server
    await server.stop(0)


@pytest.fixture
async def channel(server: RpcServer) -> AsyncIterator[Channel]:
    channel = Channel(f"127.0.0.1:{server.port}")
    yield channel
    await channel.close()


def stub_of(channel: object) -> payment_pb2_grpc.PaymentServiceStub:
    return payment_pb2_grpc.PaymentServiceStub(channel)  # type: ignore[arg-type]


class Relay:
    """In front of a server. Connections that were there when it moves hang for ever; later ones do not."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._moves = 0
        self._ends: list[asyncio.StreamWriter] = []

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    def move(self) -> None:
        self._moves += 1

    async def close(self) -> None:
        for end in self._ends:
            end.close()
        await asyncio.gather(*(end.wait_closed() for end in self._ends), return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader_beyond, writer_beyond = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends += writer, writer_beyond
        moves = self._moves
        await asyncio.gather(
            self._pump(reader, writer_beyond, moves),
            self._pump(reader_beyond, writer, moves),
        )

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, moves: int) -> None:
        while data := await source.read(65_536):
            if moves == self._moves:
                sink.write(data)
        sink.close()


async def test_call_returns_the_response(channel: Channel) -> None:
    response = await stub_of(channel).GetPayment(Get(order_id="a"), timeout=5)
    assert response.order_id == "a"


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArgument("a", field="b"),
        errors.Unauthenticated("a"),
        errors.PermissionDenied("a"),
        errors.NotFound("a"),
        errors.AlreadyExists("a"),
        errors.FailedPrecondition("a"),
        errors.ResourceExhausted("a"),
        errors.Unavailable("a"),
        errors.NotLeader("a", leader_id="n", leader_address="h:1"),
        errors.DeadlineExceeded("a"),
        errors.Internal("a"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_caller_catches_what_the_callee_raised(
    double: PaymentDouble, channel: Channel, error: errors.ServiceError
) -> None:
    double.error = error
    with pytest.raises(type(error)) as caught:
        await stub_of(channel).GetPayment(Get(), timeout=5)
    assert type(caught.value) is type(error)
    assert caught.value.message == "a"
    assert caught.value.metadata == error.metadata


async def test_plain_grpc_gets_the_same_error_as_a_status_with_details(
    double: PaymentDouble, server: RpcServer
) -> None:
    double.error = errors.NotLeader("not me", leader_id="n", leader_address="h:1")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as plain:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub_of(plain).GetPayment(Get(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    error = errors.from_status(status_pb2.Status.FromString(details))
    assert isinstance(error, errors.NotLeader)
    assert error.leader_address == "h:1"


async def test_a_defect_is_internal_and_tells_the_caller_nothing_of_it(double: PaymentDouble, channel: Channel) -> None:
    double.error = KeyError("4111111111111111")
    with pytest.raises(errors.Internal) as caught:
        await stub_of(channel).GetPayment(Get(), timeout=5)
    assert "4111" not in caught.value.message


async def test_deadline_ends_the_call_here_and_the_work_there(double: PaymentDouble, channel: Channel) -> None:
    double.block()
    with pytest.raises(errors.DeadlineExceeded):
        await stub_of(channel).GetPayment(Get(), timeout=0.1)
    await asyncio.wait_for(double.cancelled.wait(), 5)


async def test_cancelling_the_caller_cancels_the_work(double: PaymentDouble, channel: Channel) -> None:
    double.block()
    call = asyncio.ensure_future(stub_of(channel).GetPayment(Get(), timeout=30))
    await asyncio.wait_for(double.entered.wait(), 5)
    call.cancel()
    await asyncio.wait_for(double.cancelled.wait(), 5)


async def test_a_timeout_is_mandatory(channel: Channel) -> None:
    with pytest.raises(TypeError, match="timeout"):
        await stub_of(channel).GetPayment(Get())


async def test_slow_calls_do_not_hold_up_quick_ones(double: PaymentDouble, channel: Channel) -> None:
    double.block(order_id="slow")
    slow = asyncio.ensure_future(stub_of(channel).GetPayment(Get(order_id="slow"), timeout=30))
    await asyncio.wait_for(double.entered.wait(), 5)
    response = await stub_of(channel).GetPayment(Get(order_id="quick"), timeout=5)
    assert response.order_id == "quick"
    assert not slow.done()
    slow.cancel()


async def test_calls_in_progress_fail_at_once_when_the_peer_ends(double: PaymentDouble, server: RpcServer) -> None:
    double.block()
    channel = Channel(f"127.0.0.1:{server.port}")
    call = asyncio.ensure_future(stub_of(channel).GetPayment(Get(), timeout=30))
    await asyncio.wait_for(double.entered.wait(), 5)
    await server.stop(0)
    with pytest.raises(errors.Unavailable):
        await asyncio.wait_for(call, 5)
    await channel.close()


async def test_channel_finds_a_peer_that_came_back(double: PaymentDouble) -> None:
    first = await serve(double)
    address = f"127.0.0.1:{first.port}"
    channel = Channel(address)
    await stub_of(channel).GetPayment(Get(), timeout=5)
    await first.stop(0)
    with pytest.raises(errors.Unavailable):
        await stub_of(channel).GetPayment(Get(), timeout=5)
    second = await serve(double, address)
    async with asyncio.timeout(10):
        while True:
            try:
                await stub_of(channel).GetPayment(Get(), timeout=5)
            except errors.Unavailable:
                continue
            break
    await channel.close()
    await second.stop(0)


async def test_a_stopped_process_is_noticed_by_its_silence() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.rpc.payment_double", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        channel = Channel(f"127.0.0.1:{port}")
        await stub_of(channel).GetPayment(Get(), timeout=20)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(errors.Unavailable, match="silent"):
            await stub_of(channel).GetPayment(Get(), timeout=60)
        await channel.close()
    finally:
        process.kill()
        await process.wait()


async def test_a_server_that_stops_ends_idle_streams_at_once(double: PaymentDouble, server: RpcServer) -> None:
    channel = Channel(f"127.0.0.1:{server.port}")
    await stub_of(channel).GetPayment(Get(), timeout=5)
    # Well below the grace that it would wait for a call in progress.
    await asyncio.wait_for(server.stop(grace_s=60), 10)
    await channel.close()


async def test_a_server_that_stops_lets_calls_in_progress_end(double: PaymentDouble, server: RpcServer) -> None:
    double.block()
    channel = Channel(f"127.0.0.1:{server.port}")
    call = asyncio.ensure_future(stub_of(channel).GetPayment(Get(order_id=""), timeout=30))
    await asyncio.wait_for(double.entered.wait(), 5)
    stop = asyncio.ensure_future(server.stop(grace_s=60))
    double.release()
    await asyncio.wait_for(call, 5)
    await asyncio.wait_for(stop, 10)
    await channel.close()


async def test_connection_that_leads_nowhere_any_more_is_left_for_a_new_one(
    double: PaymentDouble, server: RpcServer
) -> None:
    """As when a container gets another address while it runs: nothing closes what it had open."""
    relay = Relay(server.port)
    async with await relay.start() as front:
        channel = Channel(f"127.0.0.1:{front.sockets[0].getsockname()[1]}")
        await stub_of(channel).GetPayment(Get(order_id="before"), timeout=20)
        relay.move()
        with pytest.raises(errors.Unavailable, match="silent"):
            await stub_of(channel).GetPayment(Get(order_id="lost"), timeout=20)
        answer = await stub_of(channel).GetPayment(Get(order_id="after"), timeout=20)
        assert answer.order_id == "after"
        await channel.close()
        await relay.close()
