"""Whom containers answer: a stranger on our own networks gets no word, and a service no more than its due."""

from collections.abc import Iterator

import pytest

from bookstore.shop_client import runtime
from tests.containers.compose import Compose, docker
from tests.containers.customers import bookstore, checkout
from utils.rpc.channel import Channel
from utils.rpc.errors import Unavailable
from utils.rpc.transport import CLEAR_TEXT

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

PORTS = {
    "transaction_verification": 50052,
    "fraud_detection": 50051,
    "suggestions": 50053,
    "payment-service": 50053,
    **{f"order_queue_{number}": 50054 for number in (1, 2, 3)},
    **{f"order_executor_{number}": 50051 for number in (1, 2, 3)},
    **{f"db-node{number}": 50052 for number in (1, 2, 3)},
}
CHECK = "/grpc.health.v1.Health/Check"
# Of a container that has nothing of ours but the image and our authority's certificate, which is no secret.
STRANGER = """
import socket, sys
from pathlib import Path
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from utils.identity.authority import Authorities
from utils.identity.distribution import Member, distribute

distribute(Authorities(Path("/tmp/authority")), [Member.parse("operator/operator")], Path("/tmp"))
key, certificate = (Path("/tmp/operator", name).read_bytes() for name in ("key.pem", "cert.pem"))
ours = sys.argv[1].encode()
for address in sys.argv[2:]:
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()
    for channel in (
        grpc.insecure_channel(address),
        grpc.secure_channel(address, grpc.ssl_channel_credentials(ours)),
        grpc.secure_channel(address, grpc.ssl_channel_credentials(ours, key, certificate)),
    ):
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            print(address, "ANSWERED")
        except grpc.RpcError as error:
            print(address, error.code().name)
        channel.close()
"""
# With the certificate of the container that it runs in, and a request that nobody can read.
CALL = """
import asyncio, sys
from utils.config import from_environment
from utils.identity.config import TlsConfig
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError
from utils.rpc.transport import credentials_from

async def call(address, method):
    channel = Channel(address, credentials_from(from_environment(TlsConfig)))
    try:
        await channel.call(method, bytes([255]), timeout_s=20)
    except ServiceError as error:
        print(error.code)
    await channel.close()

asyncio.run(call(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def networks(compose: Compose) -> dict[str, list[str]]:
    """Of each network, host:port of the gRPC services that are in it."""
    found: dict[str, list[str]] = {}
    for service, container in compose.inspect().items():
        if service in PORTS:
            for network in container["NetworkSettings"]["Networks"]:
                found.setdefault(network, []).append(f"{service}:{PORTS[service]}")
    return found


def test_a_stranger_on_every_network_is_answered_by_nobody(compose: Compose, networks: dict[str, list[str]]) -> None:
    assert compose.operator is not None
    ours = (compose.operator / "ca.pem").read_text()
    tried = set()
    for network, addresses in networks.items():
        command = ("python", "-c", STRANGER, ours, *addresses)
        told = docker("run", "--rm", "--network", network, "bookstore-services", *command).splitlines()
        assert told == [f"{address} UNAVAILABLE" for address in addresses for _ in range(3)]
        tried |= set(addresses)
    assert tried == {f"{service}:{port}" for service, port in PORTS.items()}


def test_clear_text_is_answered_at_no_published_port(compose: Compose) -> None:
    async def call(port: int) -> None:
        channel = Channel(f"127.0.0.1:{port}", CLEAR_TEXT)
        try:
            await channel.call(CHECK, b"", timeout_s=10)
        finally:
            await channel.close()

    published = [int(port) for port in _published(compose)]
    assert len(published) == 12
    for port in published:
        with pytest.raises(Unavailable):
            runtime().run(call(port))


def _published(compose: Compose) -> Iterator[str]:
    for service, container in compose.inspect().items():
        if service in PORTS:
            for bindings in (container["NetworkSettings"]["Ports"] or {}).values():
                yield from (binding["HostPort"] for binding in bindings or [])


@pytest.mark.parametrize(
    ("caller", "callee", "method", "answer"),
    [
        ("orchestrator", "payment-service", CHECK, "invalid_argument"),
        ("orchestrator", "payment-service", "/bookstore.v1.ParticipantService/Prepare", "permission_denied"),
        ("order_executor_1", "payment-service", "/bookstore.v1.ParticipantService/Prepare", "invalid_argument"),
        ("order_executor_1", "payment-service", "/bookstore.v1.PaymentService/ListCaptures", "permission_denied"),
        ("order_executor_1", "order_queue_1", "/bookstore.v1.OrderQueueService/Dequeue", "invalid_argument"),
        ("db-node1", "order_queue_1", "/bookstore.v1.OrderQueueService/Dequeue", "permission_denied"),
        ("order_queue_1", "db-node1", "/bookstore.v1.raft.RaftAdminService/Join", "permission_denied"),
        ("suggestions", "db-node1", "/bookstore.v1.DatabaseService/ReadAll", "invalid_argument"),
        ("suggestions", "db-node1", "/bookstore.v1.DatabaseService/Write", "permission_denied"),
        ("fraud_detection", "suggestions", "/bookstore.v1.SuggestionsService/SuggestBooks", "permission_denied"),
        ("fraud_detection", "suggestions", "/bookstore.v1.VerificationPeer/Notify", "invalid_argument"),
    ],
)
def test_a_service_is_let_in_for_its_own_calls_alone(
    compose: Compose, caller: str, callee: str, method: str, answer: str
) -> None:
    told = compose("exec", "-T", caller, "python", "-c", CALL, f"{callee}:{PORTS[callee]}", method)
    assert told.strip() == answer


def test_the_operator_asks_the_containers_from_the_host(compose: Compose) -> None:
    nodes = "127.0.0.1:50071,127.0.0.1:50072,127.0.0.1:50073"
    assert "leads in term" in bookstore("cluster", "--nodes", nodes, "status", "order_queue")


def test_the_next_authority_is_trusted_by_all_while_orders_go_on(compose: Compose) -> None:
    compose("exec", "-T", "authority", "python", "-m", "utils.identity", "replace")
    for service in ("orchestrator", *PORTS):
        trusted = compose("exec", "-T", service, "cat", "/run/identity/ca.pem")
        assert trusted.count("BEGIN CERTIFICATE") == 2, service
    assert checkout("Book A")["status"] == "Order Approved"
