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


class Progress:
    """`match_index` is proven and never shrinks; `next_index` is a guess, always beyond it."""

    def __init__(self, next_index: int) -> None:
        self.match_index = 0
        self.next_index = next_index
        self.state = ProgressState.PROBE
        # An answer of this term has come since the leader last asked.
        self.is_active = True
        self.newest_read_sent = 0
        self._is_probe_sent = False
        # The last index of each message with entries on the way, in the order of sending.
        self._in_flight: deque[int] = deque()

    def wants_probe(self) -> bool:
        return self.state is ProgressState.PROBE and not self._is_probe_sent

    def wants_entries(self, last_index: int, messages_in_flight: int) -> bool:
        return (
            self.state is ProgressState.REPLICATE
            and self.next_index <= last_index
            and len(self._in_flight) < messages_in_flight
        )

    def sent_entries(self, last_index: int) -> None:
        """A message with entries up to `last_index` has left: they are taken for delivered until told otherwise."""
        self._in_flight.append(last_index)
        self.next_index = last_index + 1

    def sent_probe(self) -> None:
        self._is_probe_sent = True

    def accepted(self, match_index: int) -> None:
        """The follower's log matches up to `match_index`. The answer may be late or a duplicate."""
        self.match_index = max(self.match_index, match_index)
        if self.state is ProgressState.PROBE:
            self.state = ProgressState.REPLICATE
            self.next_index = self.match_index + 1
        self.next_index = max(self.next_index, self.match_index + 1)
        while self._in_flight and self._in_flight[0] <= self.match_index:
            self._in_flight.popleft()

    def rejected(self, response: AppendEntriesResponse, log: RaftLog) -> None:
        """The follower's log does not match at `response.rejected_index`: probe further back.

        Unless the answer is late: only a rejection of what was sent last, or in REPLICATE of anything not yet proven,
        tells something new.
        """
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


def _meeting_point(response: AppendEntriesResponse, log: RaftLog) -> int:
    """The next index to try (paper, end of section 5.3): after the leader's own last entry of the conflicting term."""
    if response.conflict_term:
        last_index = log.last_index_of_term(response.conflict_term)
        if last_index is not None:
            return last_index + 1
    return response.conflict_index
