"""What the nodes of one cluster tell each other, and what their logs are made of.

The same as utils/pb/raft.proto, without protobuf. Everything is immutable. An Entry is also what
storage writes: its encoding is an array, so a field may only be added at the end.
"""

import enum

import msgspec


class EntryKind(enum.IntEnum):
    COMMAND = 1
    # A leader's first entry (dissertation, section 6.4): committing it commits everything before it.
    NO_OP = 2
    # Who belongs to the cluster (dissertation, chapter 4).
    CONFIGURATION = 3


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record of the log. Indexes count from 1; index 0 and term 0 stand for the empty log."""

    index: int
    term: int
    kind: EntryKind
    data: bytes


class LogBase(msgspec.Struct, frozen=True):
    """The last entry that a log no longer holds; a snapshot covers it. The default: the log begins at its beginning."""

    index: int = 0
    term: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """What replaces the entries up to and with `last_included_index`. The default is that of an empty log.

    `configuration`: as of that index, encoded; empty if no entry has brought one up to there.
    """

    last_included_index: int = 0
    last_included_term: int = 0
    configuration: bytes = b""
    data: bytes = b""


class PreVoteRequest(msgspec.Struct, frozen=True, tag=True):
    """Would you vote for me? Changes nothing at whoever answers (dissertation, section 9.6)."""

    # The term that the sender would start, not the one that it is in.
    term: int
    last_log_index: int
    last_log_term: int


class PreVoteResponse(msgspec.Struct, frozen=True, tag=True):
    # Granted: the term that was asked about. Refused: the term that the answering node is in.
    term: int
    granted: bool


class RequestVoteRequest(msgspec.Struct, frozen=True, tag=True):
    term: int
    last_log_index: int
    last_log_term: int
    # The sender was asked to take over (dissertation, section 3.10): leases do not hold it back.
    leadership_transfer: bool = False


class RequestVoteResponse(msgspec.Struct, frozen=True, tag=True):
    term: int
    granted: bool


class AppendEntriesRequest(msgspec.Struct, frozen=True, tag=True):
    term: int
    prev_log_index: int
    prev_log_term: int
    entries: tuple[Entry, ...]
    leader_commit: int
    # The newest read that an answer to this message confirms leadership for (dissertation, section 6.4). 0: none.
    read_id: int = 0
    # Of a message without entries: grows with each one to this peer, so that its answer is known from late ones.
    probe_id: int = 0


class AppendEntriesResponse(msgspec.Struct, frozen=True, tag=True):
    term: int
    success: bool
    # The last index known to match the leader's log; only with success.
    match_index: int = 0
    # Where the leader should look next: the first index of the conflicting term, or one after the end of a short log.
    conflict_index: int = 0
    # The term of the conflicting entry; 0 when the log is too short to have one.
    conflict_term: int = 0
    read_id: int = 0
    # The request's prev_log_index, which tells a late rejection from a current one.
    rejected_index: int = 0
    probe_id: int = 0


class InstallSnapshotRequest(msgspec.Struct, frozen=True, tag=True):
    """One chunk of a snapshot (paper, section 7)."""

    term: int
    last_included_index: int
    last_included_term: int
    configuration: bytes
    # In bytes, of `data` in the data of the snapshot; `done`: it is the last chunk.
    offset: int
    data: bytes
    done: bool


class InstallSnapshotResponse(msgspec.Struct, frozen=True, tag=True):
    term: int
    last_included_index: int
    # The bytes received so far. `done`: no more are needed, the log matches the leader's up to `last_included_index`.
    offset: int
    done: bool


class TimeoutNowRequest(msgspec.Struct, frozen=True, tag=True):
    """Start an election at once (dissertation, section 3.10)."""

    term: int


Question = PreVoteRequest | RequestVoteRequest | AppendEntriesRequest | InstallSnapshotRequest | TimeoutNowRequest
Answer = PreVoteResponse | RequestVoteResponse | AppendEntriesResponse | InstallSnapshotResponse
Body = Question | Answer


class Message(msgspec.Struct, frozen=True):
    sender: str
    recipient: str
    body: Body
