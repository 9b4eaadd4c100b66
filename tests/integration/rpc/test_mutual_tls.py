"""Servers with certificates on real sockets: who gets in, who may call what, and what happens at a renewal."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.rpc.payment_double import PaymentDouble
from tests.support.identities import Identities
from utils.config import ConfigError
from utils.identity.config import TlsConfig
from utils.identity.files import TlsFiles
from utils.pb import introspection_pb2, introspection_pb2_grpc, payment_pb2, payment_pb2_grpc
from utils.rpc import errors
from utils.rpc.channel import Channel
from utils.rpc.server import RpcServer
from utils.rpc.transport import CLEAR_TEXT, Credentials, credentials_from, open_channel

Get = payment_pb2.GetPaymentRequest
OPERATOR = "operator/operator"


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "ours")


@pytest.fixture
def double() -> PaymentDouble:
    return PaymentDouble()


@pytest.fixture
async def server(identities: Identities, double: PaymentDouble) -> AsyncIterator[RpcServer]:
    credentials = identities.of("payment/payment-service")
    server = RpcServer("127.0.0.1:0", node_id="payment-service", credentials=credentials)
    payment_pb2_grpc.add_PaymentServiceServicer_to_server(double, server)  # type: ignore[arg-type]
    await server.start()
    yield server
    await server.stop(0)


def stub_of(channel: object) -> payment_pb2_grpc.PaymentServiceStub:
    return payment_pb2_grpc.PaymentServiceStub(channel)  # type: ignore[arg-type]


async def call(server: RpcServer, credentials: Credentials, host: str = "127.0.0.1") -> str:
    channel = Channel(f"{host}:{server.port}", credentials)
    try:
        return (await stub_of(channel).GetPayment(Get(order_id="a"), timeout=10)).order_id
    finally:
        await channel.close()


async def test_who_is_named_in_the_table_is_answered(server: RpcServer, identities: Identities) -> None:
    assert await call(server, identities.of(OPERATOR)) == "a"


async def test_another_service_is_refused_on_a_multiplexed_stream(
    server: RpcServer, identities: Identities, double: PaymentDouble
) -> None:
    with pytest.raises(errors.PermissionDenied, match=r"spiffe://bookstore/db_node/db-node1 may not call .*GetPayment"):
        await call(server, identities.of("db_node/db-node1"))
    assert double.calls == 0


async def test_another_service_is_refused_by_plain_grpc(
    server: RpcServer, identities: Identities, double: PaymentDouble
) -> None:
    async with open_channel(f"127.0.0.1:{server.port}", identities.of("db_node/db-node1")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub_of(channel).GetPayment(Get(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    details = dict(refused.value.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    assert isinstance(errors.from_status(status_pb2.Status.FromString(details)), errors.PermissionDenied)
    assert double.calls == 0


async def test_a_stream_is_refused_before_it_begins(server: RpcServer, identities: Identities) -> None:
    async with open_channel(f"127.0.0.1:{server.port}", identities.of("db_node/db-node1")) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watch.read()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_one_stream_carries_what_a_caller_may_call_and_refuses_the_rest(
    server: RpcServer, identities: Identities
) -> None:
    channel = Channel(f"127.0.0.1:{server.port}", identities.of("orchestrator/orchestrator"))
    health = health_pb2_grpc.HealthStub(channel)
    introspection = introspection_pb2_grpc.IntrospectionServiceStub(channel)  # type: ignore[arg-type]
    try:
        await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        with pytest.raises(errors.PermissionDenied):
            await introspection.GetCounters(introspection_pb2.GetCountersRequest(), timeout=10)
        await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    finally:
        await channel.close()


async def test_a_method_without_a_row_is_refused_also_if_it_is_served(
    server: RpcServer, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "utils.identity.permissions.TABLE", {"bookstore.v1.MultiplexService": {"Exchange": ("operator",)}}
    )
    with pytest.raises(errors.PermissionDenied):
        await call(server, identities.of(OPERATOR))


async def test_nothing_answers_a_stranger(
    server: RpcServer, identities: Identities, double: PaymentDouble, tmp_path: Path
) -> None:
    stranger = Identities(tmp_path / "theirs").of(OPERATOR)
    ours = identities.files_of(OPERATOR)
    # It believes us, and says who it is by an authority of its own.
    (tmp_path / "theirs/operator/ca.pem").write_bytes((ours / "ca.pem").read_bytes())
    with pytest.raises(errors.Unavailable):
        await call(server, stranger)
    with pytest.raises(errors.Unavailable):
        await call(server, CLEAR_TEXT)
    without = grpc.ssl_channel_credentials((ours / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", without) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub_of(channel).GetPayment(Get(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert double.calls == 0


async def test_a_server_of_a_strange_authority_is_not_talked_to(identities: Identities, tmp_path: Path) -> None:
    credentials = Identities(tmp_path / "theirs").of("payment/payment-service")
    server = RpcServer("127.0.0.1:0", node_id="payment-service", credentials=credentials)
    await server.start()
    with pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await call(server, identities.of(OPERATOR))
    await server.stop(0)


async def test_a_server_at_a_host_that_its_certificate_does_not_name_is_not_talked_to(
    identities: Identities,
) -> None:
    credentials = identities.of("payment/payment-service")
    server = RpcServer("127.0.0.2:0", node_id="payment-service", credentials=credentials)
    await server.start()
    with pytest.raises(errors.Unavailable, match="Hostname Verification"):
        await call(server, identities.of(OPERATOR), host="127.0.0.2")
    await server.stop(0)


def test_a_process_with_the_certificate_of_another_node_does_not_start(identities: Identities) -> None:
    with pytest.raises(ConfigError, match="order_queue/order_queue_2, and this process is order_queue_1"):
        RpcServer("127.0.0.1:0", node_id="order_queue_1", credentials=identities.of("order_queue/order_queue_2"))


def test_the_switch_is_off_or_without_a_directory(identities: Identities) -> None:
    directory = str(identities.files_of(OPERATOR))
    assert credentials_from(TlsConfig(tls_dir=directory)).identity is not None
    assert credentials_from(TlsConfig(tls_dir=directory, mutual_tls="off")) is CLEAR_TEXT
    assert credentials_from(TlsConfig()) is CLEAR_TEXT


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PRIVATE KEY-----\nsecret\n"])
def test_files_that_cannot_be_used_are_named_and_not_quoted(
    identities: Identities, name: str, content: bytes | None
) -> None:
    path = identities.files_of(OPERATOR) / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        TlsFiles(path.parent)
    assert name in str(error.value)
    assert "secret" not in str(error.value)


def test_a_key_is_in_no_text_of_what_holds_it(identities: Identities) -> None:
    files = TlsFiles(identities.files_of(OPERATOR))
    assert "PRIVATE" not in repr(files.current()) + repr(files) + repr(vars(files))


async def test_calls_on_a_connection_end_with_the_certificate(
    server: RpcServer, identities: Identities, double: PaymentDouble
) -> None:
    """The caller does not look itself: plain gRPC, on a connection that is older."""
    expiring = identities.expiring(OPERATOR, in_s=10)
    async with open_channel(f"127.0.0.1:{server.port}", expiring) as channel:
        await stub_of(channel).GetPayment(Get(), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _until_refused(channel)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "expired at" in (refused.value.details() or "")
    assert "python -m utils.identity issue" in (refused.value.details() or "")
    # The library says it before it calls, and nobody believes it any more when it calls all the same.
    with pytest.raises(errors.Unavailable, match=r"expired at .* renew it with"):
        await call(server, expiring)
    calls = double.calls
    async with open_channel(f"127.0.0.1:{server.port}", expiring) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub_of(channel).GetPayment(Get(), timeout=10)
    assert late.value.code() is grpc.StatusCode.UNAVAILABLE
    assert double.calls == calls
    with pytest.raises(ConfigError, match=r"expired at .* renew it with"):
        TlsFiles(identities.directory / "expiring")


async def _until_refused(channel: grpc.aio.Channel) -> None:
    async with asyncio.timeout(60):
        while True:
            await stub_of(channel).GetPayment(Get(), timeout=10)
            await asyncio.sleep(0.2)


class Calls:
    """One after the other, on one channel, for as long as it lives."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.count = 0
        self._task = asyncio.create_task(self._run())

    async def go_on(self, count: int = 20) -> None:
        """Waits for so many more. Raises what one of them raised."""
        until = self.count + count
        async with asyncio.timeout(60):
            while self.count < until:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            await stub_of(self._channel).GetPayment(Get(order_id="a"), timeout=30)
            self.count += 1


async def test_certificates_and_authority_are_replaced_while_calls_flow_and_none_fails(
    server: RpcServer, identities: Identities, double: PaymentDouble
) -> None:
    channel = Channel(f"127.0.0.1:{server.port}", identities.of(OPERATOR))
    old = TlsFiles(identities.files_of(OPERATOR)).current()
    # One call that is in progress all the while.
    double.block("long")
    long = asyncio.ensure_future(stub_of(channel).GetPayment(Get(order_id="long"), timeout=110))
    await asyncio.wait_for(double.entered.wait(), 10)
    calls = Calls(channel)
    await calls.go_on()
    for _ in identities.replace_authority():
        await calls.go_on()
    double.release()
    assert (await long).order_id == "long"
    await calls.end()
    await channel.close()
    # All of it was real: what was good at the start is good for nothing now.
    stale = grpc.ssl_channel_credentials(old.trusted_pem, old.key_pem, old.certificate_pem)
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", stale) as before:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub_of(before).GetPayment(Get(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_files_that_are_half_replaced_are_not_used(server: RpcServer, identities: Identities) -> None:
    directory = identities.files_of(OPERATOR)
    files = TlsFiles(directory)
    before = files.current()
    certificate = (directory / "cert.pem").read_bytes()
    identities.renew()
    new = (directory / "cert.pem").read_bytes()
    (directory / "cert.pem").write_bytes(certificate)
    assert files.current() is before
    (directory / "cert.pem").write_bytes(new)
    assert files.current().certificate_pem == new
