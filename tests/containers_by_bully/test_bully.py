"""Four executors that elect by Bully, started as the README says: the highest leads, and the next when it is away."""

from collections.abc import Iterator
from typing import Any

import pytest

from bookstore.shop_client import runtime
from tests.containers.compose import Compose, docker_is_there
from tests.containers.customers import checkout
from tests.e2e.waiting import eventually
from utils.pb import order_executor_pb2, order_executor_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError

pytestmark = [pytest.mark.system, pytest.mark.timeout(1_200)]

PORTS = range(50061, 50065)
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    if not docker_is_there():
        pytest.skip("no Docker engine answers here")
    with Compose("--env-file", "docker/bully.env") as compose:
        yield compose


def leader() -> str:
    """The executor that says that it leads, in the newest epoch; empty while none does."""

    async def ask(port: int) -> tuple[int, str]:
        channel: Any = Channel(f"127.0.0.1:{port}")
        stub = order_executor_pb2_grpc.OrderExecutorServiceStub(channel)
        try:
            status = await stub.GetExecutorStatus(order_executor_pb2.GetExecutorStatusRequest(), timeout=5)
        except ServiceError:
            return 0, ""
        finally:
            await channel.close()
        return (status.epoch, status.node_id) if status.is_leader else (0, "")

    async def ask_all() -> tuple[int, str]:
        return max([await ask(port) for port in PORTS])

    return runtime().run(ask_all())[1]


def test_the_highest_of_four_leads(compose: Compose) -> None:
    eventually(lambda: leader() == "order_executor_4", "the highest leads", TIMEOUT_S)
    assert checkout("Book A")["status"] == "Order Approved"


def test_the_next_leads_while_the_highest_is_away(compose: Compose) -> None:
    compose("kill", "order_executor_4")
    eventually(lambda: leader() == "order_executor_3", "the next leads", TIMEOUT_S)
    assert checkout("Book A")["status"] == "Order Approved"
    compose("start", "order_executor_4")
    eventually(lambda: leader() == "order_executor_4", "the highest leads again", TIMEOUT_S)
    assert checkout("Book A")["status"] == "Order Approved"
