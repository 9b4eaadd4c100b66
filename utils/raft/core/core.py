"""The consensus core: messages, ticks and proposals in, a Ready out. No disk, network, clock, thread or chance."""

from collections.abc import Callable, Iterable, Sequence

from utils.raft.core.limits import Limits
from utils.raft.core.messages import Entry, Message, Snapshot
from utils.raft.core.ready import HardState, Ready, Role, Status


class RaftCore:
    """One node's part in the protocol. Not thread-safe: it has one owner, who follows the rules in ready.py."""

    def __init__(
        self,
        *,
        node_id: str,
        voters: Sequence[str],
        hard_state: HardState,
        snapshot: Snapshot,
        entries: Iterable[Entry],
        random_ticks: Callable[[int, int], int],
        election_ticks: int,
        heartbeat_ticks: int,
        limits: Limits,
    ) -> None:
        """Starts as a follower from what the disk holds.

        `voters`: every node of the cluster, itself included. `snapshot`: `Snapshot()` if there is none; its data is in
        the state machine already. `entries`: those after it. `random_ticks(low, high)`: a random number from low to
        high, both included. `election_ticks`: the shortest election timeout; each one is drawn from there to twice it.
        """
        raise NotImplementedError

    @property
    def role(self) -> Role:
        raise NotImplementedError

    @property
    def current_term(self) -> int:
        raise NotImplementedError

    @property
    def leader_id(self) -> str | None:
        """The leader of the current term, if this node has heard of it."""
        raise NotImplementedError

    @property
    def commit_index(self) -> int:
        raise NotImplementedError

    @property
    def last_index(self) -> int:
        raise NotImplementedError

    @property
    def is_ready(self) -> bool:
        """This node leads and has committed an entry of its own term."""
        raise NotImplementedError

    @property
    def status(self) -> Status:
        raise NotImplementedError

    def tick(self) -> None:
        """One unit of time has passed."""
        raise NotImplementedError

    def step(self, message: Message) -> None:
        """A message has come. Those of strangers, for others, of the past or twice do no harm."""
        raise NotImplementedError

    def propose(self, commands: Sequence[bytes], term: int | None = None) -> range:
        """Appends commands to the log and returns their indexes; their term is `current_term`.

        They are committed when they come back in `Ready.committed` with that index AND that term. Raises NotLeaderError
        (without an address) if this node does not lead, or leads in another term than `term`: nothing was appended.
        """
        raise NotImplementedError

    def request_read(self) -> int:
        """Asks the cluster whether this node still leads, and returns the id under which Ready will confirm it.

        Raises NotLeaderError. Before this leader has committed an entry of its term the confirmation waits for that.
        """
        raise NotImplementedError

    def ready(self) -> Ready | None:
        """Takes what there is to do, once; None if there is nothing. Call until None after each round of input."""
        raise NotImplementedError

    def persisted(self, last_index: int, last_term: int) -> None:
        """The entries of a Ready, up to this last one, are durable on this node."""
        raise NotImplementedError

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`."""
        raise NotImplementedError
