"""Changes of membership that somebody waits for, and those that a leader makes by itself."""

import contextlib

from utils.raft.core.configuration import Change, Move, Promote
from utils.raft.core.core import RaftCore
from utils.raft.errors import (
    MembershipBusyError,
    MembershipRefusedError,
    NotLeaderError,
    ProposalRefusedError,
)
from utils.raft.io.addresses import Addresses
from utils.raft.io.proposals import Proposal, Proposals

CHANGES_MAX = 64


class MembershipChanges:
    """One at a time is in flight: the others wait for their turn."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        self.waiting: list[tuple[Change, Proposal]] = []

    def add(self, change: Change) -> Proposal:
        """Its future ends when the change is committed. Raises ProposalRefusedError."""
        if len(self.waiting) >= CHANGES_MAX:
            raise ProposalRefusedError(f"{CHANGES_MAX} changes of membership are waiting")
        proposal = Proposal(b"", None)
        self.waiting.append((change, proposal))
        return proposal

    def begin(self, core: RaftCore, leader_address: str | None) -> None:
        """Gives the core those whose turn it is."""
        waiting, self.waiting = self.waiting, []
        for change, proposal in waiting:
            if proposal.future.done():
                continue
            try:
                index = core.change_membership(change)
            except MembershipBusyError:
                self.waiting.append((change, proposal))
            except NotLeaderError as error:
                address = leader_address if error.leader_id is not None else None
                proposal.future.set_exception(NotLeaderError(error.leader_id, address))
            except MembershipRefusedError as error:
                proposal.future.set_exception(error)
            else:
                if index <= core.commit_index:
                    proposal.future.set_result(None)
                else:
                    self._proposals.follow(index, core.current_term, proposal)

    def close(self, error: NotLeaderError) -> None:
        """The node stops, or cannot go on."""
        for _, proposal in self.waiting:
            if not proposal.future.done():
                proposal.future.set_exception(NotLeaderError(error.leader_id, error.leader_address))
        self.waiting.clear()


def look_after_members(core: RaftCore, addresses: Addresses) -> None:
    """Of a leader: promotes a learner that keeps up, writes down where a member has moved to; one of these at most."""
    replication = core.replication
    if replication is None or not core.is_ready:
        return
    changes: list[Change] = [
        Promote(learner) for learner in core.configuration.learners if replication.has_caught_up(learner)
    ]
    changes += [Move(node_id, address) for node_id, address in addresses.moved().items()]
    if changes:
        # Whatever is in flight meanwhile comes first.
        with contextlib.suppress(MembershipBusyError):
            core.change_membership(changes[0])
