"""Everybody who waits for something that a node was asked for, and what they are told when leadership changes."""

import asyncio
from typing import TypeVar

from utils.raft.core.core import RaftCore
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError, OutcomeUnknownError
from utils.raft.io.membership import MembershipChanges
from utils.raft.io.proposals import Proposals, ReadBarriers
from utils.raft.io.transfers import Transfers

_T = TypeVar("_T")


class Callers:
    """Proposals, reads, transfers of leadership, and changes of membership."""

    def __init__(self, orphan_ticks: int) -> None:
        """`orphan_ticks`: how long a deposed leader waits for its successor to tell what became of its proposals."""
        self.proposals = Proposals()
        self.reads = ReadBarriers()
        self.transfers = Transfers()
        self.membership = MembershipChanges(self.proposals)
        self._orphan_ticks = orphan_ticks
        self._orphan_ticks_left: int | None = None

    @property
    def has_new(self) -> bool:
        """Something has come that the core does not know of yet."""
        return bool(self.proposals.waiting or self.reads.new or self.transfers.new or self.membership.waiting)

    def begin(self, core: RaftCore, leader_address: str | None) -> None:
        """Gives the core what has come since the last time."""
        self.proposals.propose(core, leader_address)
        self.reads.request(core, leader_address)
        self.transfers.begin(core, leader_address)
        self.membership.begin(core, leader_address)

    def tick(self, core: RaftCore) -> None:
        if self._orphan_ticks_left is None:
            return
        self._orphan_ticks_left -= 1
        if self._orphan_ticks_left <= 0:
            self._orphan_ticks_left = None
            self.proposals.give_up_before(core.current_term if core.role is Role.LEADER else core.current_term + 1)

    def lost_leadership(self, error: NotLeaderError, term: int) -> None:
        """`term`: in which this node is now."""
        self.reads.lost_leadership(error)
        self.transfers.lost_leadership(term)
        if self.proposals.is_any_in_log:
            self._orphan_ticks_left = self._orphan_ticks

    def close(self, error: NotLeaderError) -> None:
        """The node stops, or cannot go on."""
        self.proposals.close(error)
        self.reads.close(error)
        self.transfers.close(error)
        self.membership.close(error)


async def within(timeout_s: float, future: asyncio.Future[_T], what: str) -> _T:
    """Raises OutcomeUnknownError, which says `what` has not happened in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await future
    except TimeoutError:
        raise OutcomeUnknownError(f"{what} within {timeout_s:.3f} s") from None
