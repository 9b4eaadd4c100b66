"""Election by Bully: the algorithm tells who may lead, and the epoch in the database tells who does.

A reign begins when the algorithm lets this node lead. Before anything is done in it, the node raises the epoch by
compare-and-set and then reads all decisions: those of older epochs are complete, because none can be added. What it
decides is recorded under the condition that the epoch is still its own. So of two leaders of a split one acts.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from order_executor.bully.core import BullyCore, Message, Role, Timing
from order_executor.bully.wire import BullyServicer, Messenger
from order_executor.config import ExecutorConfig
from order_executor.ports import LeaderStatus
from order_executor.retry_policy import DRAIN_TIMEOUT_S, EPOCH_CHECK_S, START_OF_REIGN
from utils.observe.logging import get_logger
from utils.pb.bully_pb2_grpc import add_BullyServiceServicer_to_server
from utils.raft.errors import NotLeaderError, TransferFailedError
from utils.raft.io.failure import INVARIANT_BROKEN, end_process
from utils.raft.io.ticker import Ticker
from utils.rpc.errors import FailedPrecondition, ServiceError
from utils.rpc.server import RpcServer
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog, RecordDecision
from utils.two_phase_commit.fenced_log import Epoch

log = get_logger()


class FencedLogKeeper(Protocol):
    """utils.two_phase_commit.fenced_log, kept elsewhere. Reads are linearizable; every method raises ServiceError."""

    async def epoch(self) -> Epoch: ...

    async def raise_epoch(self, expected_number: int, node_id: str, incarnation: str) -> Epoch:
        """The epoch after it: the caller's if it has its incarnation."""

    async def record(self, epoch: Epoch, commands: Sequence[Command]) -> Sequence[OrderDecision | None]:
        """Raises FailedPrecondition if the epoch is another: then nothing was recorded, and nothing will be."""

    async def read_into(self, log: DecisionLog) -> None:
        """Makes `log` what is kept. Only for whoever holds the epoch: else it may change between two pages."""


class BullyElection:
    """An Election (order_executor.ports). Lives in one event loop."""

    def __init__(self, config: ExecutorConfig, keeper: FencedLogKeeper) -> None:
        self.decisions = DecisionLog()
        self._peers = config.peers
        self._keeper = keeper
        self._core = BullyCore(config.node_id, config.peers, _timing(config))
        self._servicer = BullyServicer(config.node_id, config.peers, self._receive)
        self._messenger = Messenger(config.node_id, config.peers, config.election_timeout_ms / 1_000)
        self._ticker = Ticker(config.heartbeat_interval_ms / 1_000, lambda: self._do(self._core.tick()))
        # The one that is this node's own, once all decisions before it are read.
        self._epoch: Epoch | None = None
        self._epoch_seen = 0
        self._reign = 0
        self._reigning: asyncio.Task[None] | None = None
        self._last: LeaderStatus | None = None
        self._change = asyncio.Event()

    def add_to(self, server: RpcServer) -> None:
        """Serves BullyService on `server`."""
        add_BullyServiceServicer_to_server(self._servicer, server)  # type: ignore[arg-type]

    async def start(self) -> None:
        self._ticker.start()
        self._do(self._core.start())

    async def stop(self) -> None:
        """Takes no further part; others miss it, if it has not handed over."""
        self._ticker.stop()
        self._do(self._core.resign())
        await self._messenger.close()

    @property
    def status(self) -> LeaderStatus:
        leader_id = self._core.leader_id
        return LeaderStatus(
            self._core.node_id,
            self._epoch_seen if self._epoch is None else self._epoch.number,
            leader_id,
            self._peers[leader_id] if leader_id is not None else None,
            ready=self._epoch is not None,
        )

    def changed(self) -> Coroutine[Any, Any, None]:
        return _wait(self._change)

    async def record(self, commands: Sequence[Command], *, epoch: int) -> Sequence[OrderDecision | None]:
        held = self._epoch
        if held is None or held.number != epoch:
            raise self._not_leader()
        try:
            recorded = await self._keeper.record(held, commands)
        except FailedPrecondition as error:
            self._fenced(held, error.message)
            raise self._not_leader() from error
        for command, decision in zip(commands, recorded, strict=True):
            # True for ever, also when this reign is over by now.
            if not isinstance(command, RecordDecision):
                self.decisions.record(command)
            elif decision is not None:
                self.decisions.record(RecordDecision(decision))
        return recorded

    async def hand_over(self) -> None:
        """For good: a node that has resigned takes part in no election any more."""
        if self._core.role is not Role.LEADER:
            raise self._not_leader()
        self._do(self._core.resign())
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                while self._core.leader_id is None:
                    await self.changed()
        except TimeoutError:
            raise TransferFailedError("nobody has taken over in time") from None

    def _receive(self, message: Message, epoch: int) -> None:
        self._epoch_seen = max(self._epoch_seen, epoch)
        if self._epoch is not None and self._epoch.number < epoch:
            self._fenced(self._epoch, f"{message.sender} knows of epoch {epoch}")
        self._do(self._core.step(message))

    def _do(self, messages: list[Message]) -> None:
        """After each step of the core: sends, begins and ends reigns, tells who waits for a change."""
        for message in messages:
            self._messenger.send(message, self._epoch_seen)
        leads = self._core.role is Role.LEADER
        if self._reigning is not None and (not leads or self._core.reign != self._reign):
            self._reigning.cancel()
            self._reigning = None
            self._epoch = None
        if leads and self._reigning is None:
            self._reign = self._core.reign
            self._reigning = asyncio.create_task(self._rule())
        self._publish()

    def _publish(self) -> None:
        status = self.status
        if status != self._last:
            if self._last is None or status.leader_id != self._last.leader_id:
                log.info("leader changed", leader_id=status.leader_id, role=self._core.role.name.lower())
            self._last = status
            change, self._change = self._change, asyncio.Event()
            change.set()

    # A reign

    async def _rule(self) -> None:
        try:
            await self._lead(secrets.token_hex(16))
        except Exception as error:  # noqa: BLE001 a defect
            end_process(INVARIANT_BROKEN, "an executor cannot lead", error)

    async def _lead(self, incarnation: str) -> None:
        failures = 0
        while True:
            try:
                epoch = await self._raise(incarnation)
                if epoch is None:
                    return
                await self._keeper.read_into(self.decisions)
                break
            except ServiceError as error:
                failures += 1
                log.warning("a reign cannot begin yet", error=error.message, tries=failures)
                await asyncio.sleep(START_OF_REIGN.pause_s(failures))
        log.info("this node leads and is ready", epoch=epoch.number, decisions=self.decisions.remembered_count)
        self._epoch, self._epoch_seen = epoch, max(self._epoch_seen, epoch.number)
        self._publish()
        await self._watch(epoch)

    async def _raise(self, incarnation: str) -> Epoch | None:
        """The epoch of this reign, also when an earlier try has raised it and its answer was lost.

        None: another node has raised it at the same moment.
        """
        epoch = await self._keeper.epoch()
        if epoch.incarnation != incarnation:
            epoch = await self._keeper.raise_epoch(epoch.number, self._core.node_id, incarnation)
        if epoch.incarnation != incarnation:
            self._fenced(None, f"{epoch.node_id} has raised the epoch to {epoch.number}")
            return None
        return epoch

    async def _watch(self, epoch: Epoch) -> None:
        """Nobody but the keeper may be able to say that another node leads."""
        while True:
            await asyncio.sleep(EPOCH_CHECK_S)
            try:
                current = await self._keeper.epoch()
            except ServiceError:
                # What it decides meanwhile is checked by the keeper, too.
                continue
            if current != epoch:
                self._fenced(epoch, f"{current.node_id} has raised the epoch to {current.number}")

    def _fenced(self, epoch: Epoch | None, why: str) -> None:
        if self._core.role is Role.LEADER and epoch == self._epoch:
            log.warning("this reign is over", why=why)
            self._do(self._core.fenced())

    def _not_leader(self) -> NotLeaderError:
        status = self.status
        return NotLeaderError(status.leader_id, status.leader_address)


def _timing(config: ExecutorConfig) -> Timing:
    silence = max(3, round(config.election_timeout_ms / config.heartbeat_interval_ms))
    answer = max(2, silence // 2)
    return Timing(leader_silence=silence, answer=answer, takeover=2 * answer, repeat=silence, fenced=2 * silence)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
