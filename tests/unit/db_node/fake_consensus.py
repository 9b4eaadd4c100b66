"""A Raft group of one without a log: a proposal is applied at once, unless a test says otherwise."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from utils.raft.errors import NotLeaderError, RaftError
from utils.raft.state_machine import StateMachine


@dataclass(frozen=True)
class FakeStatus:
    node_id: str = "db-node1"
    term: int = 1
    leader_id: str | None = "db-node1"
    leader_address: str | None = "db-node1:50052"
    last_applied: int = 0
    ready: bool = True


class FakeConsensus:
    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self.status = FakeStatus()
        self.commands: list[bytes] = []
        # The next proposals and barriers end with these; `applied_anyway`: after they were applied.
        self.failures: list[RaftError] = []
        self.applied_anyway = False
        # While it is clear, nothing becomes committed.
        self.majority = asyncio.Event()
        self.majority.set()
        # Set by each barrier that is reached.
        self.confirmed = asyncio.Event()
        self._changed = asyncio.Event()

    async def propose(self, command: bytes, *, timeout_s: float) -> Any:
        assert timeout_s > 0
        self._require_leadership()
        self.commands.append(command)
        await self.majority.wait()
        if self.failures:
            if self.applied_anyway:
                self.apply(command)
            raise self.failures.pop(0)
        return self.apply(command)

    def apply(self, command: bytes) -> Any:
        """A committed entry, whoever proposed it."""
        self.status = replace(self.status, last_applied=self.status.last_applied + 1)
        return self._machine.apply(self.status.last_applied, command)

    async def read_barrier(self, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self._require_leadership()
        await self.majority.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.confirmed.set()

    async def changed(self) -> None:
        await self._changed.wait()

    def become(self, **status: Any) -> None:
        self.status = replace(self.status, term=self.status.term + 1, **status)
        self._changed.set()
        self._changed = asyncio.Event()

    def lose_leadership(self) -> None:
        self.become(leader_id="db-node2", leader_address="db-node2:50052", ready=False)

    def win_leadership(self) -> None:
        self.become(leader_id="db-node1", leader_address="db-node1:50052", ready=True)

    def _require_leadership(self) -> None:
        if self.status.leader_id != self.status.node_id:
            raise NotLeaderError(self.status.leader_id, self.status.leader_address)
