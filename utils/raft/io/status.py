"""What a node says about itself, and to those who wait for it to say something else."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

import msgspec

from utils.observe.logging import get_logger
from utils.raft.core.core import RaftCore
from utils.raft.core.ready import Role

log = get_logger()


class RaftStatus(msgspec.Struct, frozen=True):
    """A node at one moment.

    `ready`: it leads, has committed and applied an entry of its own term, and is not handing leadership over.
    """

    node_id: str
    role: Role
    term: int
    leader_id: str | None
    leader_address: str | None
    commit_index: int
    last_applied: int
    last_log_index: int
    ready: bool
    # Of the entry with the newest configuration that this node has; 0: the one that the cluster began with.
    configuration_index: int = 0


class MemberStatus(msgspec.Struct, frozen=True):
    """A member of the newest configuration. What is None only a leader knows."""

    node_id: str
    address: str
    is_voter: bool
    # Up to where its disk is known to hold the leader's log; whether it has answered lately.
    match_index: int | None = None
    is_active: bool | None = None


def members_of(core: RaftCore) -> tuple[MemberStatus, ...]:
    """Voters first."""
    replication, configuration = core.replication, core.configuration
    members = []
    for node_id, address in configuration.members.items():
        known = (
            (None, None) if replication is None else (replication.match_index(node_id), replication.is_active(node_id))
        )
        members.append(MemberStatus(node_id, address, node_id in configuration.voters, *known))
    return tuple(members)


class Watched(NamedTuple):
    """What of a node's status is worth waking somebody for."""

    role: Role
    term: int
    leader_id: str | None
    ready: bool
    configuration_index: int


class StatusWatch:
    """What was published last, and those who wait for something else."""

    def __init__(self) -> None:
        self._last: Watched | None = None
        self._change = asyncio.Event()

    def changed(self) -> Coroutine[Any, Any, None]:
        """Waits until something is another than when it was called, not when waiting began."""
        return _wait(self._change)

    def publish(self, watched: Watched) -> bool:
        """Whether the node leads no more, or in another term."""
        if watched == self._last:
            return False
        last, self._last = self._last, watched
        if watched.ready and (last is None or not last.ready or last.term != watched.term):
            log.info("this node leads and is ready", term=watched.term)
        change, self._change = self._change, asyncio.Event()
        change.set()
        return last is not None and last.role is Role.LEADER and last[:2] != watched[:2]


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
