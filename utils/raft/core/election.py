"""Elections: who may have this node's vote, and how many votes it has (paper, 5.2 and 5.4.1; dissertation, 9.6)."""

from collections.abc import Callable, Collection

from utils.raft.core.log import RaftLog
from utils.raft.core.messages import PreVoteRequest, RequestVoteRequest
from utils.raft.core.ready import HardState


def majority_of(voters: Collection[str]) -> int:
    return len(voters) // 2 + 1


def grants_vote(hard_state: HardState, candidate: str, request: RequestVoteRequest, log: RaftLog) -> bool:
    """Whether a node in `hard_state`, which must have reached the request's term, votes for `candidate`."""
    return (
        request.term == hard_state.current_term
        and hard_state.voted_for in (None, candidate)
        and log.is_candidate_up_to_date(request.last_log_index, request.last_log_term)
    )


def grants_pre_vote(hard_state: HardState, request: PreVoteRequest, log: RaftLog) -> bool:
    """Whether a node in `hard_state` would vote in that term. It promises nothing, so it may say so to many."""
    return request.term > hard_state.current_term and log.is_candidate_up_to_date(
        request.last_log_index, request.last_log_term
    )


class Tally:
    """The votes, or pre-votes, that a node was given in one round. Each voter counts once, and nobody else."""

    def __init__(self, voters: Collection[str]) -> None:
        self._voters = frozenset(voters)
        self._majority = majority_of(voters)
        self._granted: set[str] = set()

    def add(self, node_id: str) -> None:
        if node_id in self._voters:
            self._granted.add(node_id)

    @property
    def is_won(self) -> bool:
        return len(self._granted) >= self._majority


class ElectionTimer:
    """Counts the ticks since this node last heard from a leader, voted, or started an election."""

    def __init__(self, election_ticks: int, random_ticks: Callable[[int, int], int]) -> None:
        self._election_ticks = election_ticks
        self._random_ticks = random_ticks
        self.restart_with_another_timeout()

    def restart(self) -> None:
        self._elapsed = 0

    def restart_with_another_timeout(self) -> None:
        """So that two nodes that campaigned at the same time will hardly do so again (paper, section 5.2)."""
        self._elapsed = 0
        self._timeout = self._random_ticks(self._election_ticks, 2 * self._election_ticks)

    def hasten(self) -> None:
        """The shortest timeout counts as passed, and the rest is short, but still drawn."""
        self._timeout = self._election_ticks + self._random_ticks(1, max(1, self._election_ticks // 2))
        self._elapsed = max(self._elapsed, self._election_ticks)

    def tick(self) -> None:
        self._elapsed += 1

    @property
    def is_over(self) -> bool:
        return self._elapsed >= self._timeout

    @property
    def is_minimum_over(self) -> bool:
        """Whether even the shortest election timeout has passed: no node that hears a leader starts before."""
        return self._elapsed >= self._election_ticks
