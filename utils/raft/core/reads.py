"""Linearizable reads without the log: ReadIndex (dissertation, section 6.4).

A leader remembers what was committed when the read came, has a majority confirm that it still led AFTER that (their
answers carry the id of the read), and then the state machine may be read once it has applied that index.
"""

from collections import deque
from collections.abc import Collection

from utils.raft.core.election import majority_of


class Reads:
    """The reads of one leader in one term. Ids grow, so the newest confirmed one confirms all before it."""

    def __init__(self, node_id: str, first_own_index: int) -> None:
        """`first_own_index`: of the leader's no-op. Until that is committed nobody knows what is committed."""
        self._node_id = node_id
        self._first_own_index = first_own_index
        self._acknowledged: dict[str, int] = {}
        self._waiting: deque[tuple[int, int]] = deque()
        self.newest_id = 0

    def request(self, read_id: int, commit_index: int) -> None:
        """`read_id` must be higher than all before it."""
        self._waiting.append((read_id, max(commit_index, self._first_own_index)))
        self.newest_id = read_id

    def acknowledged(self, peer: str, read_id: int) -> None:
        """`peer` answered, in this leader's term, a message that was sent after the read came."""
        self._acknowledged[peer] = max(self._acknowledged.get(peer, 0), read_id)

    def take_confirmed(self, commit_index: int, voters: Collection[str]) -> tuple[tuple[int, int], ...]:
        """The reads that are confirmed by a majority of `voters`, once, as (read_id, index)."""
        if not self._waiting:
            return ()
        read_ids = [self.newest_id if voter == self._node_id else self._acknowledged.get(voter, 0) for voter in voters]
        acknowledged = sorted(read_ids, reverse=True)[majority_of(voters) - 1]
        confirmed = []
        while self._waiting and self._waiting[0][0] <= acknowledged and self._waiting[0][1] <= commit_index:
            confirmed.append(self._waiting.popleft())
        return tuple(confirmed)
