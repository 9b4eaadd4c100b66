"""The proposals and the reads of one leader that somebody waits for, and how each of them ends."""

import asyncio
import heapq
import itertools
from typing import Any

from utils.raft.core.core import RaftCore
from utils.raft.errors import (
    NotLeaderError,
    OutcomeUnknownError,
    ProposalDroppedError,
    ProposalRefusedError,
)

COMMAND_BYTES_MAX = 1024 * 1024
PROPOSALS_MAX = 4_096
PROPOSALS_BYTES_MAX = 32 * 1024 * 1024


class Proposal:
    """A command on its way. `future` gets the state machine's answer, or a RaftError."""

    __slots__ = ("command", "future", "required_term", "term")

    def __init__(self, command: bytes, required_term: int | None) -> None:
        self.command = command
        self.required_term = required_term
        # Of its entry, once it has one.
        self.term = 0
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Proposals:
    """Those that wait for the owner, and those in the log, by index."""

    def __init__(self) -> None:
        self.waiting: list[Proposal] = []
        self._by_index: dict[int, Proposal] = {}
        self._bytes = 0

    @property
    def is_any_in_log(self) -> bool:
        return bool(self._by_index)

    def add(self, command: bytes, required_term: int | None) -> Proposal:
        """Raises ProposalRefusedError."""
        if len(command) > COMMAND_BYTES_MAX:
            raise ProposalRefusedError(f"a command has at most {COMMAND_BYTES_MAX} bytes, not {len(command)}")
        if len(self.waiting) + len(self._by_index) >= PROPOSALS_MAX:
            raise ProposalRefusedError(f"{PROPOSALS_MAX} proposals are in flight")
        if self._bytes + len(command) > PROPOSALS_BYTES_MAX:
            raise ProposalRefusedError(f"proposals of {PROPOSALS_BYTES_MAX} bytes are in flight")
        proposal = Proposal(command, required_term)
        self._bytes += len(command)
        self.waiting.append(proposal)
        return proposal

    def propose(self, core: RaftCore, leader_address: str | None) -> None:
        """Gives those that wait to the core, as one batch."""
        waiting, self.waiting = self.waiting, []
        batch = []
        for proposal in waiting:
            # Its caller may have gone already: then it is not proposed at all.
            if not proposal.future.done() and proposal.required_term in (None, core.current_term):
                batch.append(proposal)
            else:
                self._end(proposal, error=NotLeaderError(core.leader_id, leader_address))
        if not batch:
            return
        try:
            indexes = core.propose([proposal.command for proposal in batch])
        except NotLeaderError as error:
            # A leader that hands over sends nobody to itself.
            address = leader_address if error.leader_id is not None else None
            for proposal in batch:
                self._end(proposal, error=NotLeaderError(error.leader_id, address))
            return
        for index, proposal in zip(indexes, batch, strict=True):
            self.follow(index, core.current_term, proposal)

    def follow(self, index: int, term: int, proposal: Proposal) -> None:
        """It is the entry at `index`, of `term`."""
        proposal.term = term
        # A deposed leader's truncated entry had this index: whether it comes back is not known yet.
        if (older := self._by_index.pop(index, None)) is not None:
            self._end(older, error=OutcomeUnknownError("leadership was lost before the command was committed"))
        self._by_index[index] = proposal

    def committed(self, index: int, term: int, result: Any) -> None:
        """The entry at `index` is committed, in `term`, and `result` is what it came to."""
        proposal = self._by_index.pop(index, None)
        if proposal is None:
            return
        if proposal.term == term:
            self._end(proposal, result)
        else:
            self._end(proposal, error=ProposalDroppedError(f"another leader's entry is committed at index {index}"))

    def skipped_to(self, index: int) -> None:
        """A snapshot took the place of the entries up to `index`: it tells their effect, and not which they were."""
        for skipped in [skipped for skipped in self._by_index if skipped <= index]:
            error = OutcomeUnknownError("a snapshot took the place of the entry")
            self._end(self._by_index.pop(skipped), error=error)

    def give_up_before(self, term: int) -> None:
        """Nobody will tell what became of the proposals of earlier terms."""
        for index, proposal in list(self._by_index.items()):
            if proposal.term < term:
                del self._by_index[index]
                self._end(proposal, error=OutcomeUnknownError("leadership was lost before the command was committed"))

    def close(self, error_of_waiting: Exception) -> None:
        """The node stops, or cannot go on."""
        for proposal in self.waiting:
            self._end(proposal, error=error_of_waiting)
        self.waiting.clear()
        for proposal in self._by_index.values():
            self._end(proposal, error=OutcomeUnknownError("the node stopped before the command was committed"))
        self._by_index.clear()

    def _end(self, proposal: Proposal, result: Any = None, *, error: Exception | None = None) -> None:
        self._bytes -= len(proposal.command)
        if proposal.future.done():
            return
        if error is None:
            proposal.future.set_result(result)
        else:
            proposal.future.set_exception(error)


class ReadBarriers:
    """Reads that wait for the cluster's confirmation, then for the state machine."""

    def __init__(self) -> None:
        self.new: list[asyncio.Future[None]] = []
        self._unconfirmed: dict[int, list[asyncio.Future[None]]] = {}
        self._unapplied: list[tuple[int, int, list[asyncio.Future[None]]]] = []
        self._numbers = itertools.count()

    def add(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.new.append(future)
        return future

    def request(self, core: RaftCore, leader_address: str | None) -> None:
        """One confirmation serves all the reads that have come so far."""
        new, self.new = [future for future in self.new if not future.done()], []
        if not new:
            return
        try:
            self._unconfirmed[core.request_read()] = new
        except NotLeaderError:
            _fail(new, NotLeaderError(core.leader_id, leader_address))

    def confirmed(self, read_id: int, index: int) -> None:
        if futures := self._unconfirmed.pop(read_id, None):
            heapq.heappush(self._unapplied, (index, next(self._numbers), futures))

    def applied(self, last_applied: int) -> None:
        while self._unapplied and self._unapplied[0][0] <= last_applied:
            for future in heapq.heappop(self._unapplied)[2]:
                if not future.done():
                    future.set_result(None)

    def lost_leadership(self, error: NotLeaderError) -> None:
        """Unconfirmed ones never will be; a confirmed one stays right."""
        for futures in self._unconfirmed.values():
            _fail(futures, error)
        self._unconfirmed.clear()

    def close(self, error: NotLeaderError) -> None:
        self.lost_leadership(error)
        _fail(self.new, error)
        self.new = []
        for _, _, futures in self._unapplied:
            _fail(futures, error)
        self._unapplied.clear()


def _fail(futures: list[asyncio.Future[None]], error: NotLeaderError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(NotLeaderError(error.leader_id, error.leader_address))
