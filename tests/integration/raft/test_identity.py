"""A Raft port with certificates: a node speaks for itself alone, and what others say in its name changes nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.identities import Identities
from tests.support.journal import Journal
from tests.support.raft_cluster import WAIT_S_MAX, free_ports
from utils.pb import raft_pb2 as pb, raft_pb2_grpc
from utils.raft.config import RaftConfig
from utils.raft.io.node import RaftNode
from utils.rpc.channel import Channel
from utils.rpc.errors import InvalidArgument, PermissionDenied
from utils.rpc.server import RpcServer
from utils.rpc.transport import Credentials, open_channel

CLUSTER = "order_queue"
NODES = tuple(f"order_queue_{number}" for number in (1, 2, 3))


@dataclass
class Target:
    """order_queue_1, which hears of nobody else and holds no election by itself."""

    node: RaftNode
    address: str

    async def deliver(self, credentials: Credentials, batch: pb.MessageBatch) -> None:
        """Raises what the node says of it."""
        async with open_channel(self.address, credentials) as channel:
            await raft_pb2_grpc.RaftServiceStub(channel).Deliver(iter([batch]), timeout=WAIT_S_MAX)

    async def reaches_term(self, term: int) -> None:
        async with asyncio.timeout(WAIT_S_MAX):
            while self.node.status.term < term:
                await self.node.changed()


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "identities")


@pytest.fixture
async def target(tmp_path: Path, identities: Identities) -> AsyncIterator[Target]:
    peers = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, free_ports(3), strict=True)}
    config = RaftConfig(
        node_id=NODES[0],
        port=1,
        peers=peers,
        cluster_id=CLUSTER,
        data_dir=str(tmp_path),
        election_timeout_ms=60_000,
    )
    credentials = identities.of(f"order_queue/{NODES[0]}")
    node = RaftNode(config, Journal(), credentials=credentials)
    server = RpcServer(peers[NODES[0]], node_id=NODES[0], credentials=credentials)
    node.add_to(server)
    async with contextlib.AsyncExitStack() as stack:
        await node.start()
        stack.push_async_callback(node.stop)
        await server.start()
        stack.push_async_callback(server.stop, grace_s=0)
        yield Target(node, peers[NODES[0]])


def leader_says(sender: str, *, cluster_id: str = CLUSTER) -> pb.MessageBatch:
    """`sender` leads in term 7."""
    message = pb.Message(sender=sender, recipient=NODES[0], append_entries_request=pb.AppendEntriesRequest(term=7))
    return pb.MessageBatch(cluster_id=cluster_id, messages=[message])


async def test_a_node_speaks_for_itself(target: Target, identities: Identities) -> None:
    await target.deliver(identities.of("order_queue/order_queue_2"), leader_says("order_queue_2"))
    await target.reaches_term(7)
    assert target.node.status.leader_id == "order_queue_2"


@pytest.mark.parametrize(
    ("caller", "batch", "code"),
    [
        ("order_queue/order_queue_3", leader_says("order_queue_2"), grpc.StatusCode.PERMISSION_DENIED),
        ("order_queue/order_queue_9", leader_says("order_queue_2"), grpc.StatusCode.PERMISSION_DENIED),
        ("db_node/order_queue_2", leader_says("order_queue_2"), grpc.StatusCode.PERMISSION_DENIED),
        ("operator/order_queue_2", leader_says("order_queue_2"), grpc.StatusCode.PERMISSION_DENIED),
        (
            "order_queue/order_queue_2",
            leader_says("order_queue_2", cluster_id="db_node"),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
    ids=["for another", "no member for a member", "another service", "an operator", "another cluster"],
)
async def test_what_others_say_is_refused_and_changes_nothing(
    target: Target, identities: Identities, caller: str, batch: pb.MessageBatch, code: grpc.StatusCode
) -> None:
    before = target.node.status
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await target.deliver(identities.of(caller), batch)
    assert refused.value.code() is code
    assert target.node.status == before
    # It could have changed something: who may say it is heard.
    await test_a_node_speaks_for_itself(target, identities)


async def test_a_node_joins_under_its_own_name_alone(target: Target, identities: Identities) -> None:
    channel = Channel(target.address, identities.of("order_queue/order_queue_3"))
    stub: Any = raft_pb2_grpc.RaftAdminServiceStub(channel)  # type: ignore[arg-type]
    with pytest.raises(PermissionDenied, match="cannot speak for 'order_queue_2'"):
        await stub.Join(pb.JoinRequest(cluster_id=CLUSTER, node_id="order_queue_2", address="h:1"), timeout=10)
    # Its own name passes, to be refused for what it says.
    with pytest.raises(InvalidArgument, match="not of 'another'"):
        await stub.Join(pb.JoinRequest(cluster_id="another", node_id="order_queue_3", address="h:1"), timeout=10)
    await channel.close()


async def test_three_nodes_elect_a_leader_and_agree_while_their_certificates_are_renewed(
    tmp_path: Path, identities: Identities
) -> None:
    peers = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, free_ports(3), strict=True)}
    async with contextlib.AsyncExitStack() as stack:
        nodes, machines = {}, {}
        for name in NODES:
            credentials = identities.of(f"order_queue/{name}")
            # So that a machine that has much to do changes no leader by itself.
            config = RaftConfig(
                node_id=name,
                port=1,
                peers=peers,
                cluster_id=CLUSTER,
                data_dir=str(tmp_path / name),
                election_timeout_ms=3_000,
            )
            machines[name] = Journal()
            nodes[name] = RaftNode(config, machines[name], credentials=credentials)
            server = RpcServer(peers[name], node_id=name, credentials=credentials)
            nodes[name].add_to(server)
            await server.start()
            stack.push_async_callback(server.stop, grace_s=0)
            await nodes[name].start()
            stack.push_async_callback(nodes[name].stop)
        leader = await _leader(nodes)
        term = leader.status.term
        await leader.propose(b"0", timeout_s=WAIT_S_MAX)
        for number, _ in enumerate(identities.replace_authority(), start=1):
            await leader.propose(str(number).encode(), timeout_s=WAIT_S_MAX)
        expected = [str(number).encode() for number in range(5)]
        async with asyncio.timeout(WAIT_S_MAX):
            while any(machine.commands != expected for machine in machines.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert leader.status.role.value == "leader"
        assert leader.status.term == term


async def _leader(nodes: dict[str, RaftNode]) -> RaftNode:
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            for node in nodes.values():
                if node.status.ready:
                    return node
            await asyncio.sleep(0.01)
