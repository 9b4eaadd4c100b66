"""Election by the executors' own consensus: its leader leads, its term is the epoch, the decisions are its entries."""

from collections.abc import Coroutine, Sequence
from typing import Any

from order_executor.ports import LeaderStatus
from order_executor.retry_policy import OPERATION_TIMEOUT_S
from utils.raft.consensus import TermConsensus
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog, encode


class ConsensusElection:
    """An Election (order_executor.ports). `decisions` is the state machine of `node`."""

    def __init__(self, node: TermConsensus, decisions: DecisionLog) -> None:
        self._node = node
        self.decisions = decisions

    @property
    def status(self) -> LeaderStatus:
        status = self._node.status
        return LeaderStatus(status.node_id, status.term, status.leader_id, status.leader_address, status.ready)

    def changed(self) -> Coroutine[Any, Any, None]:
        return self._node.changed()

    async def record(self, commands: Sequence[Command], *, epoch: int) -> Sequence[OrderDecision | None]:
        """Proposed in that term or not at all: an entry of an older one can follow nothing of a newer one."""
        results: Sequence[OrderDecision | None] = await self._node.propose(
            encode(commands), term=epoch, timeout_s=OPERATION_TIMEOUT_S
        )
        return results

    async def hand_over(self) -> None:
        await self._node.transfer_leadership(timeout_s=OPERATION_TIMEOUT_S)
