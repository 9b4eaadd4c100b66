"""The primary's part in two-phase commit: its votes and acknowledgements are what the cluster has committed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

from db_node.commands import Decide, OrderedCopies, Prepare, Refusal, Restock, Restocked
from db_node.database_machine import encode
from utils.domain.order import PricedItem
from utils.raft.consensus import Consensus
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import FailedPrecondition
from utils.two_phase_commit.messages import Acknowledgement, Compensated, Compensation, Decision, Transaction, Vote


class ReplicatedParticipant:
    """A DurableParticipant (utils.two_phase_commit.io.participant_servicer).

    Raises NotLeader on a replica, Unavailable when what became of the command is not known: to ask again is safe.
    """

    def __init__(self, node: Consensus) -> None:
        self._node = node

    async def prepare(
        self, transactions: Sequence[Transaction], finished_below: int, *, timeout_s: float
    ) -> Sequence[Vote]:
        orders = tuple(_ordered_copies(transaction) for transaction in transactions)
        with raft_errors():
            votes = await self._node.propose(encode(Prepare(orders, finished_below)), timeout_s=timeout_s)
        return cast("Sequence[Vote]", votes)

    async def decide(self, decisions: Sequence[Decision], *, timeout_s: float) -> Sequence[Acknowledgement]:
        with raft_errors():
            acknowledgements = await self._node.propose(encode(Decide(tuple(decisions))), timeout_s=timeout_s)
        return cast("Sequence[Acknowledgement]", acknowledgements)

    async def compensate(self, compensation: Compensation, *, timeout_s: float) -> Compensated:
        command = Restock(compensation.order_id, compensation.position, _copies(compensation.items), compensation.clock)
        with raft_errors():
            result: Restocked | Refusal = await self._node.propose(encode(command), timeout_s=timeout_s)
        if isinstance(result, Refusal):
            raise FailedPrecondition(result.message, reason=result.reason)
        return Compensated(story=result.story)


def _ordered_copies(transaction: Transaction) -> OrderedCopies:
    return OrderedCopies(transaction.attempt, transaction.position, _copies(transaction.items), transaction.clock)


def _copies(items: Iterable[PricedItem]) -> dict[str, int]:
    """By title."""
    quantities: Counter[str] = Counter()
    for item in items:
        quantities[item.title] += item.quantity
    return dict(quantities)
