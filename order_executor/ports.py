"""What the executor needs of the world, so that tests can put something else in its place."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from utils.domain.order import QueuedOrder, Reason
from utils.two_phase_commit.messages import Acknowledgement, Decision, Transaction, Vote


class ClaimedOrder(msgspec.Struct, frozen=True):
    order: QueuedOrder
    # Its index in the queue's log.
    position: int


class OrderResult(msgspec.Struct, frozen=True):
    """Approved with payment's confirmation code, or rejected with at least one reason."""

    order_id: str
    epoch: int
    approved: bool
    confirmation_code: str
    reasons: tuple[Reason, ...]


class OrderQueue(Protocol):
    """Every method raises ServiceError."""

    async def dequeue(
        self, epoch: int, held_order_ids: Sequence[str], max_orders: int, wait_s: float
    ) -> list[ClaimedOrder]:
        """Claims exactly the held orders and those answered; waits up to `wait_s` for a first one."""

    async def complete(self, results: Sequence[OrderResult]) -> Sequence[None]:
        """Idempotent: the first result of an order wins."""


class Participant(Protocol):
    """Every method is idempotent, answers in the order asked, and raises ServiceError."""

    async def prepare(self, transactions: Sequence[Transaction]) -> Sequence[Vote]: ...

    async def decide(self, decisions: Sequence[Decision]) -> Sequence[Acknowledgement]: ...


class NodeStatus(Protocol):
    """See utils.raft.io.node.RaftStatus."""

    @property
    def node_id(self) -> str: ...

    @property
    def term(self) -> int: ...

    @property
    def leader_id(self) -> str | None: ...

    @property
    def leader_address(self) -> str | None: ...

    @property
    def ready(self) -> bool: ...


class ReplicatedLog(Protocol):
    """See utils.raft.io.node.RaftNode."""

    @property
    def status(self) -> NodeStatus: ...

    async def changed(self) -> None: ...

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any: ...
