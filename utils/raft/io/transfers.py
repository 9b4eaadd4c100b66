"""Those who wait for leadership to be handed over."""

import asyncio

from utils.raft.core.core import RaftCore
from utils.raft.errors import NotLeaderError, RaftError, TransferFailedError


class Transfers:
    """All of them wait for the same: that this node does not lead any more."""

    def __init__(self) -> None:
        self.new: list[tuple[str | None, asyncio.Future[None]]] = []
        self._under_way: list[asyncio.Future[None]] = []
        # The term that they want to end.
        self._term = 0

    def add(self, to: str | None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.new.append((to, future))
        return future

    def begin(self, core: RaftCore, leader_address: str | None) -> None:
        new, self.new = self.new, []
        for to, future in new:
            if future.done():
                continue
            try:
                core.transfer_leadership(to)
            except NotLeaderError as error:
                future.set_exception(NotLeaderError(error.leader_id, leader_address))
            except TransferFailedError as error:
                future.set_exception(error)
            else:
                self._term = core.current_term
                self._under_way.append(future)

    def lost_leadership(self, term: int) -> None:
        """That is what they wanted, if `term`, which this node is in now, is a later one: somebody campaigns."""
        for future in self._take():
            if term > self._term:
                future.set_result(None)
            else:
                future.set_exception(TransferFailedError("a majority did not answer, and nobody has taken over"))

    def given_up(self, target: str) -> None:
        for future in self._take():
            future.set_exception(TransferFailedError(f"{target} has not taken over in time"))

    def close(self, error: RaftError) -> None:
        """The node stops, or cannot go on."""
        self._under_way += [future for _, future in self.new]
        self.new = []
        for future in self._take():
            future.set_exception(TransferFailedError(str(error)))

    def _take(self) -> list[asyncio.Future[None]]:
        futures, self._under_way = self._under_way, []
        return [future for future in futures if not future.done()]
