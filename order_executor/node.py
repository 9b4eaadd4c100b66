"""One node of the executors, put together: decision log, consensus, clients, services. `__main__` runs it."""

import asyncio
from pathlib import Path
from typing import Protocol

from order_executor.bully.election import BullyElection
from order_executor.bully.fenced_log_client import FencedLogClient
from order_executor.clients import OrderQueueClient, ParticipantClient
from order_executor.config import ExecutorConfig
from order_executor.consensus_election import ConsensusElection
from order_executor.executor import Executor
from order_executor.ports import Election
from order_executor.rotation import rotate_after
from order_executor.servicer import CoordinatorServicer, OrderExecutorServicer
from order_executor.story import StoryServicer
from utils.engines import claim, consensus_node
from utils.pb.order_executor_pb2_grpc import add_OrderExecutorServiceServicer_to_server
from utils.pb.story_pb2_grpc import add_StoryServiceServicer_to_server
from utils.pb.two_phase_commit_pb2_grpc import add_CoordinatorServiceServicer_to_server
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.server import RpcServer
from utils.two_phase_commit.decision_log import DecisionLog

# In this order their reasons are told.
DATABASE, PAYMENT = "database", "payment"
# What one kind of election has decided the other does not know: unfinished, it would be decided again.
_WAY_OUT = "let the executors finish every order first, stop them all and the queue"


class _Member(Protocol):
    """What takes part in the election, while the node runs."""

    def add_to(self, server: RpcServer) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def _elect(config: ExecutorConfig, database: ClusterChannel) -> tuple[Election, _Member]:
    if config.election == "bully":
        bully = BullyElection(config, FencedLogClient(database))
        return bully, bully
    decisions = DecisionLog()
    consensus = consensus_node(config.election, config, decisions)
    return ConsensusElection(consensus, decisions), consensus


class ExecutorNode:
    """Works while `run` runs."""

    def __init__(self, config: ExecutorConfig) -> None:
        self._channels = (
            ClusterChannel(config.order_queue),
            ClusterChannel(config.db_nodes),
            Channel(config.payment_service),
        )
        queue, database, payment = self._channels
        claim(Path(config.data_dir), "election", "EXECUTOR_ELECTION", config.election, _WAY_OUT)
        self.election, self._member = _elect(config, database)
        self.executor = Executor(
            election=self.election,
            queue=OrderQueueClient(queue, config.node_id),
            participants={DATABASE: ParticipantClient(database), PAYMENT: ParticipantClient(payment)},
            in_flight_max=config.in_flight_max,
            rotate_after=rotate_after(config.leadership_rotation),
        )
        self._server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
        self._member.add_to(self._server)
        coordinator = CoordinatorServicer(self.election, self.executor)
        add_CoordinatorServiceServicer_to_server(coordinator, self._server)  # type: ignore[arg-type]
        status = OrderExecutorServicer(self.election, self.executor)
        add_OrderExecutorServiceServicer_to_server(status, self._server)  # type: ignore[arg-type]
        stories = StoryServicer(self.election, self.executor)
        add_StoryServiceServicer_to_server(stories, self._server)  # type: ignore[arg-type]

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set. Raises LogDamagedError, RuntimeError for a port in use, whatever is a defect."""
        await self._server.start()
        await self._member.start()
        stop = asyncio.create_task(stopping.wait())
        work = [stop, asyncio.create_task(self.executor.run()), asyncio.create_task(self._tell_health())]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            if done == {stop}:
                await self.executor.retire()
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            await self._server.set_serving(False)
            await self._member.stop()
            await self._server.stop()
            await asyncio.gather(*(channel.close() for channel in self._channels))
        for task in done:
            task.result()

    async def _tell_health(self) -> None:
        """Healthy while a leader is known."""
        while True:
            leader_id = self.election.status.leader_id
            await self._server.set_serving(leader_id is not None)
            if self.election.status.leader_id == leader_id:
                await self.election.changed()
