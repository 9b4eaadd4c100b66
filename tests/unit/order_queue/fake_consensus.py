"""A Raft group of one without a log: a proposal is applied at once, unless a test says otherwise."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from utils.raft.errors import NotLeaderError, RaftError
from utils.raft.state_machine import StateMachine


@dataclass(frozen=True)
class FakeStatus:
    node_id: str = "order_queue_1"
    term: int = 1
    leader_id: str | None = "order_queue_1"
    leader_address: str | None = "queue-1:50054"
    last_applied: int = 0
    ready: bool = True


class FakeConsensus:
    """`barriers` counts confirmations of leadership; while `barrier_open` is clear, they wait."""

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self.status = FakeStatus()
        self.index = 0
        self.barriers = 0
        self.barrier_open = asyncio.Event()
        self.barrier_open.set()
        self.barrier_reached = asyncio.Event()
        # The next proposals end with these; `applied_anyway`: after they were applied, as an unknown outcome may be.
        self.failures: list[RaftError] = []
        self.applied_anyway = False
        self._changed = asyncio.Event()

    def apply(self, command: bytes) -> Any:
        """A committed entry, whoever proposed it."""
        self.index += 1
        return self._machine.apply(self.index, command)

    async def propose(self, command: bytes, *, timeout_s: float) -> Any:
        assert timeout_s > 0
        self._require_leadership()
        if self.failures:
            if self.applied_anyway:
                self.apply(command)
            raise self.failures.pop(0)
        return self.apply(command)

    async def read_barrier(self, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self._require_leadership()
        self.barriers += 1
        self.barrier_reached.set()
        await self.barrier_open.wait()
        self._require_leadership()

    async def changed(self) -> None:
        await self._changed.wait()

    def lose_leadership(self) -> None:
        self._become(leader_id="order_queue_2", leader_address="queue-2:50054", ready=False)

    def win_leadership(self) -> None:
        self._become(leader_id="order_queue_1", leader_address="queue-1:50054", ready=True)

    def _become(self, **status: Any) -> None:
        self.status = replace(self.status, term=self.status.term + 1, **status)
        self._changed.set()
        self._changed = asyncio.Event()

    def _require_leadership(self) -> None:
        if self.status.leader_id != self.status.node_id:
            raise NotLeaderError(self.status.leader_id, self.status.leader_address)
