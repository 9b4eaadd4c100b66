"""What a leader knows about one follower's log, and how fast it may send to it."""

import enum
from collections import deque

from utils.raft.core.log import RaftLog
from utils.raft.core.messages import AppendEntriesResponse


class ProgressState(enum.Enum):
    # Where the logs meet is not known: one empty AppendEntries at a time looks for it.
    PROBE = enum.auto()
    # It is known: entries are sent ahead of their acknowledgements.
    REPLICATE = enum.auto()
    # They meet where the leader's log no longer reaches: a snapshot is sent, one chunk at a time.
    SNAPSHOT = enum.auto()


class Progress:
    """`match_index` is proven and never shrinks, unless the follower's disk was lost.

    `next_index` is a guess, always beyond it.
    """

    def __init__(self, next_index: int) -> None:
        self.match_index = 0
        self.next_index = next_index
        self.state = ProgressState.PROBE
        # An answer of this term has come since the leader last asked, or between its last two questions.
        self.is_active = True
        self._was_active = True
        self.newest_read_sent = 0
        self._is_probe_sent = False
        # Of the newest message without entries, and what was proven when it left.
        self._probe_id = 0
        self._match_when_probed = 0
        # The last index of each message with entries on the way, in the order of sending.
        self._in_flight: deque[int] = deque()
        # Of the snapshot that is sent: how many bytes the follower has, as far as it said.
        self.snapshot_index = 0
        self.snapshot_offset = 0
        self._is_chunk_sent = False

    @property
    def was_active_lately(self) -> bool:
        return self.is_active or self._was_active

    def take_activity(self) -> bool:
        self._was_active, self.is_active = self.is_active, False
        return self._was_active

    def wants_probe(self) -> bool:
        return self.state is ProgressState.PROBE and not self._is_probe_sent

    def wants_entries(self, last_index: int, messages_in_flight: int) -> bool:
        return (
            self.state is ProgressState.REPLICATE
            and self.next_index <= last_index
            and len(self._in_flight) < messages_in_flight
        )

    def wants_chunk(self) -> bool:
        return self.state is ProgressState.SNAPSHOT and not self._is_chunk_sent

    def sent_entries(self, last_index: int) -> None:
        """A message with entries up to `last_index` has left: they are taken for delivered until told otherwise."""
        self._in_flight.append(last_index)
        self.next_index = last_index + 1

    def send_probe(self) -> int:
        """A message without entries leaves, with this id."""
        self._is_probe_sent = True
        self._probe_id += 1
        self._match_when_probed = self.match_index
        return self._probe_id

    def sent_chunk(self) -> None:
        self._is_chunk_sent = True

    def begin_snapshot(self) -> None:
        """The entry before `next_index` is not in the log any more."""
        self.state = ProgressState.SNAPSHOT
        self._in_flight.clear()
        self.snapshot_index = 0

    def begin_chunks(self, snapshot_index: int) -> None:
        """From the first byte of this snapshot on."""
        self.snapshot_index = snapshot_index
        self._go_to_chunk(0)

    def repeat_chunk(self) -> None:
        """It or its answer may be lost."""
        self._is_chunk_sent = False

    def received_chunks(self, offset: int) -> None:
        """The follower has that many bytes: more than before, or, if it has lost them, fewer."""
        if offset != self.snapshot_offset:
            self._go_to_chunk(offset)

    def accepted(self, match_index: int, base_index: int) -> None:
        """The follower's log matches up to `match_index`. The answer may be late or a duplicate.

        `base_index`: where the leader's log begins; from there on entries can be sent.
        """
        self.match_index = max(self.match_index, match_index)
        if self.state is ProgressState.PROBE or (
            self.state is ProgressState.SNAPSHOT and self.match_index >= base_index
        ):
            self.state = ProgressState.REPLICATE
            self.next_index = self.match_index + 1
        self.next_index = max(self.next_index, self.match_index + 1)
        while self._in_flight and self._in_flight[0] <= self.match_index:
            self._in_flight.popleft()

    def has_forgotten(self, response: AppendEntriesResponse) -> bool:
        """Whether the follower lacks what it had acknowledged before it was asked: its disk was lost."""
        return response.probe_id == self._probe_id > 0 and response.rejected_index <= self._match_when_probed

    def begin_anew(self, rejected_index: int) -> None:
        """Nothing is proven any more."""
        self.match_index = self._match_when_probed = 0
        self.next_index = rejected_index + 1
        self.state = ProgressState.PROBE

    def rejected(self, response: AppendEntriesResponse, log: RaftLog) -> None:
        """The follower's log does not match at `response.rejected_index`: probe further back.

        Unless the answer is late: only a rejection of what was sent last, or in REPLICATE of anything not yet proven,
        tells something new.
        """
        if self.state is ProgressState.SNAPSHOT:
            return
        if self.state is ProgressState.PROBE:
            is_late = response.rejected_index != self.next_index - 1
        else:
            is_late = response.rejected_index <= self.match_index
        if is_late:
            return
        self.state = ProgressState.PROBE
        self._is_probe_sent = False
        self._in_flight.clear()
        # Always a step back, never behind what is proven.
        self.next_index = max(self.match_index + 1, min(_meeting_point(response, log), response.rejected_index))

    def _go_to_chunk(self, offset: int) -> None:
        self.snapshot_offset = offset
        self._is_chunk_sent = False


def _meeting_point(response: AppendEntriesResponse, log: RaftLog) -> int:
    """The next index to try (paper, end of section 5.3): after the leader's own last entry of the conflicting term."""
    if response.conflict_term:
        last_index = log.last_index_of_term(response.conflict_term)
        if last_index is not None:
            return last_index + 1
    return response.conflict_index
