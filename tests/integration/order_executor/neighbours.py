"""The queue and the participants of a World, served over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from db_node.database_machine import DatabaseMachine
from db_node.decision_servicer import DecisionLogServicer
from order_executor.ports import OrderResult
from tests.support.raft_cluster import free_ports
from tests.unit.db_node.fake_consensus import FakeConsensus
from tests.unit.order_executor.world import ParticipantDouble, QueueDouble, World
from utils.pb import order_queue_pb2, two_phase_commit_pb2
from utils.pb.convert import queued_order_to_proto, reason_from_proto
from utils.pb.decision_log_pb2_grpc import add_DecisionLogServiceServicer_to_server
from utils.pb.order_queue_pb2_grpc import OrderQueueServiceServicer, add_OrderQueueServiceServicer_to_server
from utils.pb.two_phase_commit_pb2_grpc import (
    CoordinatorServiceStub,
    ParticipantServiceServicer,
    add_ParticipantServiceServicer_to_server,
)
from utils.rpc.cluster import ClusterChannel
from utils.rpc.server import RpcServer
from utils.two_phase_commit.convert import (
    acknowledgement_to_proto,
    attempt_to_proto,
    decision_from_proto,
    resolution_from_proto,
    transaction_from_proto,
    vote_to_proto,
)
from utils.two_phase_commit.messages import Decision, ResolutionKind


class ParticipantServicer(ParticipantServiceServicer):
    """Prepare and Decide."""

    def __init__(self, double: ParticipantDouble) -> None:
        self._double = double

    async def Prepare(
        self, request: two_phase_commit_pb2.PrepareRequest, context: Any
    ) -> two_phase_commit_pb2.PrepareResponse:
        transactions = [transaction_from_proto(message) for message in request.transactions]
        votes = await self._double.prepare(transactions, request.finished_below)
        return two_phase_commit_pb2.PrepareResponse(votes=[vote_to_proto(vote) for vote in votes])

    async def Decide(
        self, request: two_phase_commit_pb2.DecideRequest, context: Any
    ) -> two_phase_commit_pb2.DecideResponse:
        done = await self._double.decide([decision_from_proto(message) for message in request.decisions])
        return two_phase_commit_pb2.DecideResponse(
            acknowledgements=[acknowledgement_to_proto(acknowledgement) for acknowledgement in done]
        )


class QueueServicer(OrderQueueServiceServicer):
    """Dequeue and Complete; an executor calls nothing else."""

    def __init__(self, double: QueueDouble) -> None:
        self._double = double

    async def Dequeue(self, request: order_queue_pb2.DequeueRequest, context: Any) -> order_queue_pb2.DequeueResponse:
        claimed = await self._double.dequeue(
            request.epoch, list(request.held_order_ids), request.max_orders, request.wait_ms / 1_000
        )
        return order_queue_pb2.DequeueResponse(
            orders=[
                order_queue_pb2.ClaimedOrder(order=queued_order_to_proto(one.order), position=one.position)
                for one in claimed.orders
            ],
            ended_below=claimed.ended_below,
        )

    async def Complete(
        self, request: order_queue_pb2.CompleteRequest, context: Any
    ) -> order_queue_pb2.CompleteResponse:
        await self._double.complete(
            [
                OrderResult(
                    result.order_id,
                    result.epoch,
                    result.approved,
                    result.confirmation_code,
                    tuple(reason_from_proto(reason) for reason in result.reasons),
                )
                for result in request.results
            ]
        )
        return order_queue_pb2.CompleteResponse()


class Neighbours:
    """Each at an address of its own, which it keeps when it is stopped and started."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ports = dict(zip(("queue", "database", "payment"), free_ports(3), strict=True))
        self._servers: dict[str, RpcServer] = {}
        # Where executors that elect by Bully keep their epoch and their decisions.
        self.database_machine = DatabaseMachine()
        self._database_node = FakeConsensus(self.database_machine)

    async def start(self, name: str) -> None:
        server = RpcServer(f"127.0.0.1:{self.ports[name]}", node_id=name)
        if name == "queue":
            queue = QueueServicer(self._world.queue)  # type: ignore[abstract]
            add_OrderQueueServiceServicer_to_server(queue, server)  # type: ignore[arg-type]
        else:
            double = self._world.database if name == "database" else self._world.payment
            add_ParticipantServiceServicer_to_server(ParticipantServicer(double), server)  # type: ignore[abstract, arg-type]
        if name == "database":
            decisions = DecisionLogServicer(self._database_node, self.database_machine)
            add_DecisionLogServiceServicer_to_server(decisions, server)  # type: ignore[arg-type]
        await server.start()
        self._servers[name] = server

    async def stop(self, name: str) -> None:
        await self._servers.pop(name).stop(grace_s=0)

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(name) for name in list(self._servers)))

    def environment(self) -> dict[str, str]:
        """For the configuration of an executor."""
        return {
            "ORDER_QUEUE": f"127.0.0.1:{self.ports['queue']}",
            "DB_NODES": f"127.0.0.1:{self.ports['database']}",
            "PAYMENT_SERVICE": f"127.0.0.1:{self.ports['payment']}",
        }


@contextlib.asynccontextmanager
async def neighbours(world: World) -> AsyncIterator[Neighbours]:
    served = Neighbours(world)
    for name in served.ports:
        await served.start(name)
    try:
        yield served
    finally:
        await served.stop_all()


def executor_environments(
    served: Neighbours, directory: str, *, count: int = 3, **settings: str
) -> dict[str, dict[str, str]]:
    """Of `count` nodes, by node id."""
    node_ids = [f"order_executor_{number}" for number in range(1, count + 1)]
    ports = dict(zip(node_ids, free_ports(count), strict=True))
    return {
        node_id: {
            **served.environment(),
            "NODE_ID": node_id,
            "BIND_HOST": "127.0.0.1",
            "PORT": str(port),
            "RAFT_PEERS": ",".join(f"{peer}=127.0.0.1:{ports[peer]}" for peer in node_ids),
            "DATA_DIR": f"{directory}/{node_id}",
            "ELECTION_TIMEOUT_MS": "300",
            "HEARTBEAT_INTERVAL_MS": "50",
            **settings,
        }
        for node_id, port in ports.items()
    }


def addresses(environments: dict[str, dict[str, str]]) -> list[str]:
    return [f"127.0.0.1:{environment['PORT']}" for environment in environments.values()]


async def end_doubts(world: World, executor_addresses: list[str]) -> None:
    """A Prepare that was under way when its sender died may come last; then the participant asks."""
    channel = ClusterChannel(executor_addresses)
    stub = CoordinatorServiceStub(channel)  # type: ignore[arg-type]
    for participant in (world.database, world.payment):
        attempts = participant.core.in_doubt
        request = two_phase_commit_pb2.ResolveRequest(attempts=[attempt_to_proto(attempt) for attempt in attempts])
        response = await stub.Resolve(request, timeout=10)
        for resolution in map(resolution_from_proto, response.resolutions):
            assert resolution.kind is not ResolutionKind.UNDECIDED
            committed = resolution.kind is ResolutionKind.COMMITTED
            assert participant.core.decide(Decision(resolution.attempt, commit=committed)).done
    await channel.close()
