"""Asks every node and service how it is, over gRPC."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.readiness import NodeStatus, Probed
from utils.pb import order_executor_pb2, order_executor_pb2_grpc, raft_pb2, raft_pb2_grpc
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError, Unimplemented

_TIMEOUT_S: Final = 1.0


class Prober:
    """Serves `orchestrator.readiness.Probe`: the nodes of `clusters` and the `services`, each at host:port."""

    def __init__(
        self, runtime: BlockingRuntime, clusters: Mapping[str, Sequence[str]], services: Mapping[str, str]
    ) -> None:
        self._runtime = runtime
        runtime.run(self._open(clusters, services))

    async def _open(self, clusters: Mapping[str, Sequence[str]], services: Mapping[str, str]) -> None:
        self._nodes = {name: [Channel(address) for address in addresses] for name, addresses in clusters.items()}
        self._services = {name: Channel(address) for name, address in services.items()}

    def __call__(self) -> Probed:
        return self._runtime.run(self._probe())

    def close(self) -> None:
        self._runtime.run(self._close())

    async def _close(self) -> None:
        channels = [*self._services.values(), *(channel for nodes in self._nodes.values() for channel in nodes)]
        await asyncio.gather(*(channel.close() for channel in channels))

    async def _probe(self) -> Probed:
        clusters, services = await asyncio.gather(
            asyncio.gather(*(_statuses(channels) for channels in self._nodes.values())),
            asyncio.gather(*(_trouble(channel) for channel in self._services.values())),
        )
        return Probed(
            clusters=dict(zip(self._nodes, clusters, strict=True)),
            services=dict(zip(self._services, services, strict=True)),
        )


async def _statuses(channels: Sequence[Channel]) -> list[NodeStatus]:
    answers = await asyncio.gather(*(_status(channel) for channel in channels))
    return [status for status in answers if status is not None]


async def _status(channel: Channel) -> NodeStatus | None:
    stub = raft_pb2_grpc.RaftServiceStub(channel)  # type: ignore[arg-type]
    try:
        status = await stub.GetRaftStatus(raft_pb2.GetRaftStatusRequest(), timeout=_TIMEOUT_S)
    except Unimplemented:
        return await _executor_status(channel)
    except ServiceError:
        return None
    return NodeStatus(status.node_id, status.role, status.term, status.leader_id, status.ready)


async def _executor_status(channel: Channel) -> NodeStatus | None:
    """Executors may elect their leader otherwise than by Raft."""
    stub = order_executor_pb2_grpc.OrderExecutorServiceStub(channel)  # type: ignore[arg-type]
    try:
        status = await stub.GetExecutorStatus(order_executor_pb2.GetExecutorStatusRequest(), timeout=_TIMEOUT_S)
    except ServiceError:
        return None
    role = "leader" if status.is_leader else "follower"
    return NodeStatus(status.node_id, role, status.epoch, status.leader_id, status.is_leader)


async def _trouble(channel: Channel) -> str:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
    except ServiceError as error:
        return f"does not answer ({error.code})"
    return "" if response.status == health_pb2.HealthCheckResponse.SERVING else "is not ready yet"
