"""A channel to a cluster: whoever leads is found, whoever is away is passed by, and time bounds it all."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.rpc.payment_double import PaymentDouble
from tests.integration.rpc.test_channel import Get, serve, stub_of
from utils.rpc import errors
from utils.rpc.cluster import ClusterChannel
from utils.rpc.server import RpcServer


class Cluster:
    def __init__(self, doubles: list[PaymentDouble], servers: list[RpcServer]) -> None:
        self.doubles = doubles
        self.servers = servers
        self.addresses = [f"127.0.0.1:{server.port}" for server in servers]

    def elect(self, leader: int | None) -> None:
        address = "" if leader is None else self.addresses[leader]
        for number, double in enumerate(self.doubles):
            double.error = None if number == leader else errors.NotLeader("not me", leader_address=address)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    doubles = [PaymentDouble() for _ in range(3)]
    cluster = Cluster(doubles, [await serve(double) for double in doubles])
    yield cluster
    for server in cluster.servers:
        await server.stop(0)


@pytest.fixture
async def channel(cluster: Cluster) -> AsyncIterator[ClusterChannel]:
    channel = ClusterChannel(cluster.addresses)
    yield channel
    await channel.close()


async def test_redirect_is_followed_and_remembered(cluster: Cluster, channel: ClusterChannel) -> None:
    cluster.elect(2)
    for _ in range(3):
        await stub_of(channel).GetPayment(Get(), timeout=5)
    assert [double.calls for double in cluster.doubles] == [1, 0, 3]


async def test_leader_outside_the_known_addresses_is_reached_by_its_redirect(cluster: Cluster) -> None:
    cluster.elect(2)
    channel = ClusterChannel(cluster.addresses[:1])
    await stub_of(channel).GetPayment(Get(), timeout=5)
    assert cluster.doubles[2].calls == 1
    await channel.close()


async def test_leader_whose_own_address_leads_nowhere_is_found_at_the_one_that_is_known(
    cluster: Cluster, channel: ClusterChannel
) -> None:
    """As containers tell it to the host: their names mean nothing there, and their ports are published."""
    cluster.elect(2)
    for follower in cluster.doubles[:2]:
        follower.error = errors.NotLeader("not me", leader_address="localhost:9")
    await stub_of(channel).GetPayment(Get(), timeout=20)
    assert cluster.doubles[2].calls == 1


async def test_dead_node_is_passed_by(cluster: Cluster, channel: ClusterChannel) -> None:
    cluster.elect(1)
    await cluster.servers[0].stop(0)
    await stub_of(channel).GetPayment(Get(), timeout=5)
    assert cluster.doubles[1].calls == 1


async def test_call_waits_for_an_election(cluster: Cluster, channel: ClusterChannel) -> None:
    cluster.elect(None)
    call = asyncio.ensure_future(stub_of(channel).GetPayment(Get(order_id="a"), timeout=20))
    await asyncio.wait_for(cluster.doubles[1].called(3), 10)
    cluster.elect(1)
    assert (await call).order_id == "a"


async def test_without_a_leader_the_call_is_unavailable_when_its_time_is_over(
    cluster: Cluster, channel: ClusterChannel
) -> None:
    cluster.elect(None)
    with pytest.raises(errors.Unavailable, match="no leader"):
        await stub_of(channel).GetPayment(Get(), timeout=0.3)


async def test_an_answer_of_the_leader_is_final_even_if_it_is_an_error(
    cluster: Cluster, channel: ClusterChannel
) -> None:
    for double in cluster.doubles:
        double.error = errors.FailedPrecondition("no")
    with pytest.raises(errors.FailedPrecondition):
        await stub_of(channel).GetPayment(Get(), timeout=5)
    assert sum(double.calls for double in cluster.doubles) == 1
