"""One executor on a log with a single node, which applies at once and fails as it is told to."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from order_executor.consensus_election import ConsensusElection
from order_executor.executor import Executor
from tests.unit.order_executor.world import World, eventually
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalRefusedError, TransferFailedError
from utils.two_phase_commit.decision_log import DecisionLog


@dataclass(frozen=True)
class Status:
    node_id: str
    term: int
    leader_id: str | None
    leader_address: str | None
    last_applied: int
    ready: bool


# "late": unknown at first, and committed with the next leader's no-op, or when the test says so.
Fate = Literal["refused", "lost", "unknown", "late"]


@dataclass
class MemoryNode:
    """A log with one node. `fates` are what becomes of the next proposals; all others are committed."""

    machine: DecisionLog
    term: int = 1
    ready: bool = True
    leads: bool = True
    index: int = 0
    fates: deque[Fate] = field(default_factory=deque)
    proposals: list[bytes] = field(default_factory=list)
    transfers: int = 0
    transfer_fails: asyncio.Event = field(default_factory=asyncio.Event)
    _late: list[bytes] = field(default_factory=list)
    _change: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> Status:
        return Status("executor_1", self.term, "executor_1" if self.leads else None, None, self.index, self.ready)

    def become(self, *, term: int, ready: bool, leads: bool | None = None) -> None:
        """`leads`: as `ready`, unless it is said. A leader that hands over is not ready."""
        if ready:
            self.commit_late()
        self.term, self.ready, self.leads = term, ready, ready if leads is None else leads
        change, self._change = self._change, asyncio.Event()
        change.set()

    def commit_late(self) -> None:
        """What was proposed and said to be unknown is committed now."""
        for command in self._late:
            self._apply(command)
        self._late = []

    async def changed(self) -> None:
        await self._change.wait()

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Nothing else is committed anywhere."""

    async def transfer_leadership(self, to: str | None = None, *, timeout_s: float) -> None:
        """Waits for the test, which ends the term, or sets why nobody takes over."""
        term = self.term
        self.become(term=term, ready=False, leads=True)
        self.transfers += 1
        while self.term == term:
            change = asyncio.create_task(self.changed())
            failing = asyncio.create_task(self.transfer_fails.wait())
            await asyncio.wait((change, failing), return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            failing.cancel()
            if self.transfer_fails.is_set():
                self.transfer_fails.clear()
                self.become(term=term, ready=True)
                raise TransferFailedError("nobody has taken over in time")

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any:
        if not self.ready or term != self.term:
            raise NotLeaderError(None, None)
        await asyncio.sleep(0.001)
        self.proposals.append(command)
        fate = self.fates.popleft() if self.fates else "committed"
        if fate == "refused":
            raise ProposalRefusedError("the disk is full")
        if fate == "lost":
            raise OutcomeUnknownError("never to be seen again")
        if fate == "late":
            self._late.append(command)
            raise OutcomeUnknownError("it will be committed")
        result = self._apply(command)
        if fate == "unknown":
            raise OutcomeUnknownError("it was committed")
        return result

    def _apply(self, command: bytes) -> Any:
        self.index += 1
        return self.machine.apply(self.index, command)


class Setup:
    """One executor whose node leads term 1 unless told otherwise."""

    def __init__(
        self,
        world: World,
        *,
        in_flight_max: int = 64,
        term: int = 1,
        rotate_after: int | None = None,
        decisions: DecisionLog | None = None,
    ) -> None:
        """`decisions`: of a second executor that has the same log."""
        self.world = world
        self.decisions = decisions or DecisionLog()
        self.node = MemoryNode(self.decisions, term=term)
        self.executor = Executor(
            election=ConsensusElection(self.node, self.decisions),
            queue=world.queue,
            participants={"database": world.database, "payment": world.payment},
            in_flight_max=in_flight_max,
            rotate_after=rotate_after,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.executor.run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def all_end(self) -> None:
        await eventually(lambda: self.world.queue.is_done, "all orders end")
        await eventually(lambda: self.executor.orders_in_flight == 0, "nothing is left in hand")
        assert self.decisions.unfinished() == []
        self.world.assert_books_agree()
