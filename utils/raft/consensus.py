"""What a service asks of consensus.

Served by `utils.raft.io.node.RaftNode`, by `utils.etcd.node.EtcdNode`, and in tests by a stand-in.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from utils.rpc.server import RpcServer


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

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until role, term, leader or readiness is another than when it was called."""


class TermConsensus(Consensus, Protocol):
    """For whoever acts in the name of a term."""

    async def propose(self, command: bytes, *, term: int | None = None, timeout_s: float) -> Any:
        """With `term`, in that term or not at all: an entry of an older term can follow nothing of a newer one."""

    async def transfer_leadership(self, *, timeout_s: float) -> None:
        """Lets another node lead; raises RaftError if nobody takes over."""


class ConsensusNode(TermConsensus, Protocol):
    """A node, for whoever runs it: it is added to a server, started, and stopped before the server is."""

    def add_to(self, server: RpcServer) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
