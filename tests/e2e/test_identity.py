"""The whole system with MUTUAL_TLS=on: an order goes through, and whomever the table does not name is refused."""

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bookstore.certificates import call_as
from bookstore.running import RunningSystem
from bookstore.shop_client import captures, order_body, runtime, stock
from bookstore.system import ORCHESTRATOR, PAGE, POSTGRES
from tests.e2e.shop_http import shop_http
from tests.support.identities import Identities
from utils.identity.permissions import SERVICES, TABLE, may_call
from utils.identity.spiffe import Identity
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import InvalidArgument, PermissionDenied, Unavailable, Unimplemented
from utils.rpc.transport import CLEAR_TEXT, Credentials, open_channel

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

METHODS = [f"/{service}/{method}" for service, methods in TABLE.items() for method in methods]
STREAMS = ("/bookstore.v1.raft.RaftService/Deliver", "/bookstore.v1.MultiplexService/Exchange")
WATCH = "/grpc.health.v1.Health/Watch"
# No request at all: whoever is let in is told so, and nothing happens.
GARBAGE = b"\xff"
OPERATOR = "operator/operator"
CLIENTS, ORDERS_EACH = 4, 5


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    settings = {"MUTUAL_TLS": "on", "PAYMENT_CARD_SUCCESS_RATE": "1"}
    with RunningSystem(tmp_path_factory.mktemp("bookstore"), settings) as running:
        call_as(running.state.tls_dir)
        yield running
        call_as("")


@pytest.fixture
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    with shop_http(system) as client:
        yield client


@pytest.fixture(scope="module")
def identities(system: RunningSystem) -> Identities:
    """Of the system's own authority."""
    return Identities(system.data_directory / "identity")


@pytest.fixture(scope="module")
def callees(system: RunningSystem) -> dict[Identity, str]:
    """The address of each process that serves gRPC."""
    modules = {"payment-service": "payment"} | {
        node: cluster
        for cluster in ("db_node", "order_queue", "order_executor")
        for node in system.state.nodes(cluster)
    }
    names = {process.name for process in system.state.processes} - {ORCHESTRATOR, PAGE, POSTGRES}
    return {Identity(modules.get(name, name), name): system.address(name) for name in sorted(names)}


def test_an_order_is_approved_and_charged(system: RunningSystem, http: httpx.Client) -> None:
    before = stock(system)["Book A"]
    answer = http.post("/checkout", json=order_body(("Book A", 1))).json()
    assert answer["status"] == "Order Approved"
    assert answer["orderId"] in captures(system)
    assert stock(system)["Book A"] == before - 1
    assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_may_call_what_the_table_names_and_nothing_else(
    callees: dict[Identity, str], identities: Identities, service: str
) -> None:
    name = f"{service}/some-{service}"
    credentials = identities.of(name)
    caller = Identity.from_uri(f"spiffe://bookstore/{name}")

    async def answers() -> dict[tuple[str, str], bool]:
        """Whether the call was let in, by process and method."""
        found: dict[tuple[str, str], bool] = {}
        for callee, address in callees.items():
            channel = Channel(address, credentials)
            asked = [method for method in METHODS if method not in STREAMS and method != WATCH]
            admitted = await asyncio.gather(*(is_admitted(channel, method) for method in asked))
            found |= {(callee.node_id, method): let_in for method, let_in in zip(asked, admitted, strict=True)}
            await channel.close()
        return found

    expected = {
        (callee.node_id, method): may_call(caller, callee, method)
        for callee, method in itertools.product(callees, METHODS)
        if method not in STREAMS and method != WATCH
    }
    assert len(expected) > 400
    assert runtime().run(answers()) == expected


async def is_admitted(channel: Channel, method: str) -> bool:
    try:
        await channel.call(method, GARBAGE, timeout_s=30)
    except (InvalidArgument, Unimplemented):
        return True
    except PermissionDenied:
        return False
    raise AssertionError(f"{method} was answered")


@pytest.mark.parametrize("service", SERVICES)
def test_only_nodes_of_the_same_cluster_open_a_raft_stream(
    callees: dict[Identity, str], identities: Identities, service: str
) -> None:
    credentials = identities.of(f"{service}/some-{service}")

    async def refusal(address: str) -> grpc.StatusCode:
        async with open_channel(address, credentials) as channel:
            batch = raft_pb2.MessageBatch(cluster_id="another")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await raft_pb2_grpc.RaftServiceStub(channel).Deliver(iter([batch]), timeout=30)
            return refused.value.code()

    for callee, address in callees.items():
        if callee.service in ("order_queue", "order_executor", "db_node"):
            let_in = callee.service == service
            expected = grpc.StatusCode.INVALID_ARGUMENT if let_in else grpc.StatusCode.PERMISSION_DENIED
            assert runtime().run(refusal(address)) is expected, callee


def test_nothing_answers_without_a_certificate_of_this_system(
    callees: dict[Identity, str], identities: Identities, tmp_path: Path
) -> None:
    stranger = Identities(tmp_path).of(OPERATOR)
    believing = tmp_path / "operator/ca.pem"
    believing.write_bytes((identities.files_of(OPERATOR) / "ca.pem").read_bytes())

    async def call(address: str, credentials: Credentials) -> None:
        channel = Channel(address, credentials)
        try:
            await channel.call("/grpc.health.v1.Health/Check", b"", timeout_s=30)
        finally:
            await channel.close()

    async def call_without(address: str) -> None:
        without = grpc.ssl_channel_credentials(believing.read_bytes())
        async with grpc.aio.secure_channel(address, without) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)

    for address in callees.values():
        runtime().run(call(address, identities.of(OPERATOR)))
        for credentials in (stranger, CLEAR_TEXT):
            with pytest.raises(Unavailable):
                runtime().run(call(address, credentials))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            runtime().run(call_without(address))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_every_certificate_and_the_authority_are_replaced_while_orders_flow(
    system: RunningSystem, http: httpx.Client, callees: dict[Identity, str]
) -> None:
    identities = Identities(system.data_directory / "identity")
    for name in (
        *(f"{callee.service}/{callee.node_id}" for callee in callees),
        f"{ORCHESTRATOR}/{ORCHESTRATOR}",
        OPERATOR,
    ):
        identities.files_of(name)
    before = stock(system)["Book B"]

    def order(_: int) -> list[str]:
        bodies = [order_body(("Book B", 1)) for _ in range(ORDERS_EACH)]
        return [http.post("/checkout", json=body).json().get("status", "") for body in bodies]

    steps = 0
    with ThreadPoolExecutor(CLIENTS) as pool:
        orders = pool.map(order, range(CLIENTS))
        for _ in identities.replace_authority():
            steps += 1
            # Orders of the clients that go on meanwhile are not all: each step has one of its own.
            assert order(0) == ["Order Approved"] * ORDERS_EACH
        assert list(orders) == [["Order Approved"] * ORDERS_EACH] * CLIENTS
    assert stock(system)["Book B"] == before - (CLIENTS + steps) * ORDERS_EACH


def test_no_private_key_is_in_a_log(system: RunningSystem) -> None:
    keys = [path.read_text().split() for path in (system.data_directory / "identity").rglob("key.pem")]
    logs = "".join(path.read_text(errors="replace") for path in (system.data_directory / "logs").iterdir())
    assert len(keys) > 13
    assert "PRIVATE KEY" not in logs
    assert not [line for key in keys for line in key if len(line) > 30 and line in logs]
