"""What the core asks of its owner: what to write, to send, to apply and to log.

The rules, in the order of the work on one Ready (work on several may overlap, as long as each step keeps their order):

1. `early_messages` may leave at once: a leader replicates while its own disk is still busy (dissertation, 10.2.1).
2. `snapshot`, then `compaction`, then `hard_state`, then `entries` become durable. `entries` are consecutive; whatever
   the disk holds from the first one's index on is replaced by them.
3. Only then `messages` leave: each of them is a promise about what is on the disk. After that, if there were entries,
   `core.persisted(last.index, last.term)`.
4. `snapshot` is restored and `committed` applied to the state machine, then `core.applied(index)`. Committed entries
   may be applied before this node's own disk has them: a majority of the cluster's disks has.
5. A read with `(read_id, index)` in `confirmed_reads` may be served once the state machine has applied `index`.
   Whoever waits for a read when this node stops leading is told so by the owner: unconfirmed reads are forgotten.
6. If `needs_snapshot`, the newest durable snapshot is brought to the core, soon: `core.bring_snapshot(snapshot)`.

Between Readies the owner may take a snapshot of the state machine as it is at `last_applied`. Once that is durable, it
calls `core.compact(index)` with any index up to there: what it leaves in the log is for followers that are behind.
"""

import enum

import msgspec

from utils.raft.core.configuration import Configuration
from utils.raft.core.messages import Entry, LogBase, Message, Snapshot


class Role(enum.StrEnum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class HardState(msgspec.Struct, frozen=True):
    """What a node must never forget (paper, figure 2), besides its log."""

    current_term: int = 0
    voted_for: str | None = None


class Compaction(msgspec.Struct, frozen=True):
    """The disk's log begins anew: with `base`, and `entries` after it, instead of all that it was given so far."""

    base: LogBase
    entries: tuple[Entry, ...] = ()


class RoleChanged(msgspec.Struct, frozen=True, tag=True):
    """Also reported when only the term or the known leader changed. `why` is a short constant sentence."""

    role: Role
    term: int
    leader_id: str | None
    why: str


class LogTruncated(msgspec.Struct, frozen=True, tag=True):
    """Entries of a deposed leader gave way to those of the current one. Both indexes are included."""

    first_index: int
    last_index: int
    term: int


class SnapshotInstalled(msgspec.Struct, frozen=True, tag=True):
    """A snapshot of the leader took the place of the log and of the state machine."""

    last_included_index: int
    last_included_term: int


class TransferGivenUp(msgspec.Struct, frozen=True, tag=True):
    """`target` has not taken over within the longest election timeout: this node goes on as leader."""

    target: str


class PeerForgot(msgspec.Struct, frozen=True, tag=True):
    """A follower lacks what it had acknowledged: its disk was lost. It is sent everything again."""

    peer: str


class ConfigurationChanged(msgspec.Struct, frozen=True, tag=True):
    """Another configuration is in force: it was appended at `index`, or came back because a later one was truncated."""

    configuration: Configuration
    index: int


Event = ConfigurationChanged | RoleChanged | LogTruncated | SnapshotInstalled | TransferGivenUp | PeerForgot


class Ready(msgspec.Struct, frozen=True):
    # Only when it changed.
    hard_state: HardState | None = None
    # Of the leader, to install: it replaces the state machine. There is a compaction with it.
    snapshot: Snapshot | None = None
    compaction: Compaction | None = None
    entries: tuple[Entry, ...] = ()
    early_messages: tuple[Message, ...] = ()
    messages: tuple[Message, ...] = ()
    # In the order of the log, without gaps, of all kinds: only those of kind COMMAND are the state machine's.
    committed: tuple[Entry, ...] = ()
    # Each is a read_id and the index that must be applied first.
    confirmed_reads: tuple[tuple[int, int], ...] = ()
    # A follower lacks entries that this leader's log no longer holds.
    needs_snapshot: bool = False
    events: tuple[Event, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The core at one moment.

    `is_ready`: this node leads, has committed an entry of its own term, and is not handing leadership over.
    """

    role: Role
    term: int
    leader_id: str | None
    commit_index: int
    last_applied: int
    last_index: int
    is_ready: bool
