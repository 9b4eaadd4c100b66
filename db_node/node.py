"""One node of the database, put together. `__main__` runs it as a process."""

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from db_node.commands import Seed
from db_node.config import DatabaseConfig
from db_node.database_machine import DatabaseMachine, encode
from db_node.decision_servicer import DecisionLogServicer
from db_node.freshness import Freshness
from db_node.replicated_participant import ReplicatedParticipant
from db_node.servicer import DatabaseServicer
from utils.catalogue import CatalogueBook
from utils.clocks.story import Story
from utils.db_client.keys import price_key, stock_key
from utils.engines import claim, consensus_node
from utils.observe.logging import get_logger
from utils.pb.database_pb2_grpc import add_DatabaseServiceServicer_to_server
from utils.pb.decision_log_pb2_grpc import add_DecisionLogServiceServicer_to_server
from utils.pb.story_pb2_grpc import add_StoryServiceServicer_to_server
from utils.pb.two_phase_commit_pb2_grpc import add_ParticipantServiceServicer_to_server
from utils.raft.consensus import Consensus
from utils.raft.errors import RaftError
from utils.raft.io.service_errors import raft_errors
from utils.rpc.cluster import ClusterChannel
from utils.rpc.server import RpcServer
from utils.rpc.transport import backoff_s
from utils.two_phase_commit.io.inquiry import RESOLVE_TIMEOUT_S, InDoubtInquiry
from utils.two_phase_commit.io.participant_servicer import ParticipantServicer, log_outcomes
from utils.two_phase_commit.io.participant_story import ParticipantStoryServicer
from utils.two_phase_commit.messages import Decision

log = get_logger()

SEED_TIMEOUT_S = 5.0
_WAY_OUT = "nothing moves the stock there; to begin with the catalogue's, stop the database's nodes"


class DatabaseNode:
    """Serves from `start` to `stop`."""

    def __init__(self, config: DatabaseConfig, books: Sequence[CatalogueBook]) -> None:
        """`books`: their stock and price are written if they never were."""
        self._config = config
        self._books = books
        self.machine = DatabaseMachine()
        claim(Path(config.data_dir), "engine", "STORE", config.engine, _WAY_OUT)
        self.consensus = consensus_node(config.engine, config.consensus, self.machine)
        self._freshness = Freshness(self.consensus)
        self._participant = ReplicatedParticipant(self.consensus)
        self._server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
        self.consensus.add_to(self._server)
        database = DatabaseServicer(self.consensus, self.machine, self._freshness)
        add_DatabaseServiceServicer_to_server(database, self._server)  # type: ignore[arg-type]
        add_ParticipantServiceServicer_to_server(ParticipantServicer(self._participant), self._server)  # type: ignore[arg-type]
        decisions = DecisionLogServicer(self.consensus, self.machine)
        add_DecisionLogServiceServicer_to_server(decisions, self._server)  # type: ignore[arg-type]
        add_StoryServiceServicer_to_server(ParticipantStoryServicer(self._story), self._server)  # type: ignore[arg-type]
        self._executors = ClusterChannel(config.order_executor)
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Raises LogDamagedError, and RuntimeError for a port in use. Later failures end `failed`."""
        await self.consensus.start()
        await self._server.start()
        inquiry = InDoubtInquiry(
            self._executors,
            # A replica is in no doubt: the primary asks, and replicates what it hears.
            in_doubt=lambda: self.machine.in_doubt if self.consensus.status.ready else (),
            decide=self._carry_out,
            in_doubt_s=self._config.in_doubt_s,
        )
        for part in (self._follow_leadership(), seed(self.consensus, self.machine, self._books), inquiry.run()):
            self._run(part)
        self._run(self._freshness.run())

    async def stop(self) -> None:
        await self._server.set_serving(False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.consensus.stop()
        await self._server.stop()
        await self._executors.close()

    async def _story(self, order_id: str, timeout_s: float) -> Story:
        with raft_errors():
            await self.consensus.read_barrier(timeout_s=timeout_s)
        return self.machine.story(order_id)

    async def _carry_out(self, decisions: Sequence[Decision]) -> None:
        log_outcomes(decisions, await self._participant.decide(decisions, timeout_s=RESOLVE_TIMEOUT_S))

    async def _follow_leadership(self) -> None:
        """Healthy while a primary is known."""
        serving = False
        while True:
            if serving == (self.consensus.status.leader_id is not None):
                await self.consensus.changed()
                continue
            serving = not serving
            await self._server.set_serving(serving)

    def _run(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            self.failed.set_exception(error)


async def seed(node: Consensus, machine: DatabaseMachine, books: Sequence[CatalogueBook]) -> None:
    """Writes the stock and the price of every book that has none, once this node is the primary. Then returns."""
    integers = {stock_key(book.title): book.stock for book in books}
    integers |= {price_key(book.title): book.price_cents for book in books}
    tries = 0
    while True:
        if not node.status.ready:
            await node.changed()
            continue
        missing = {key: value for key, value in integers.items() if machine.get(key) is None}
        if not missing:
            return
        try:
            await node.propose(encode(Seed(missing)), timeout_s=SEED_TIMEOUT_S)
            log.info("the catalogue was seeded", keys=len(missing), term=node.status.term)
        except RaftError as error:
            tries += 1
            log.warning("the catalogue could not be seeded yet", error=str(error))
            await asyncio.sleep(backoff_s(tries))
