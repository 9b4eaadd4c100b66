"""What a service asks of consensus: `utils.raft.io.node.RaftNode`, and in tests a stand-in."""

from typing import Any, Protocol


class ConsensusStatus(Protocol):
    """`ready`: this node leads, and has applied an entry of its own term."""

    @property
    def node_id(self) -> str: ...
    @property
    def term(self) -> int: ...
    @property
    def leader_id(self) -> str | None: ...
    @property
    def leader_address(self) -> str | None: ...
    @property
    def last_applied(self) -> int: ...
    @property
    def ready(self) -> bool: ...


class Consensus(Protocol):
    """`propose` and `read_barrier` raise `utils.raft.errors`."""

    @property
    def status(self) -> ConsensusStatus: ...

    async def propose(self, command: bytes, *, timeout_s: float) -> Any:
        """What applying the command returned, once it is committed."""

    async def read_barrier(self, *, timeout_s: float) -> None:
        """After it, what this node's machine holds is everything that was committed before the call."""

    async def changed(self) -> None:
        """Returns when role, term, leader or readiness have changed after the call."""
