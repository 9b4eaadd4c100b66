"""How this node gets elected, and answers others who want to be (paper, section 5.2; dissertation, 9.6 and 3.10)."""

from utils.raft.core import election
from utils.raft.core.messages import (
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    TimeoutNowRequest,
)
from utils.raft.core.ready import HardState, Role
from utils.raft.core.state import NodeState


class Campaign:
    """Methods that can win an election say whether they did: then this node leads the current term."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._tally = election.Tally(state.voters)

    def start(self) -> bool:
        """Asks whether an election would be won before starting one (dissertation, section 9.6): no term is wasted.

        Who is no voter, as far as it knows, starts none.
        """
        state = self._state
        if not state.is_voter:
            return False
        state.become(Role.PRE_CANDIDATE, None, "heard of no leader")
        state.timer.restart_with_another_timeout()
        if self._vote_for_itself():
            return self._start_election("a majority would vote for it")
        state.send_to_voters(PreVoteRequest(state.current_term + 1, state.log.last_index, state.log.last_term))
        return False

    # Both answers go to whoever asks: this node may be a voter, or the candidate a member, by a configuration that has
    # not reached it yet (dissertation, section 4.2.2).

    def answer_pre_vote(self, sender: str, request: PreVoteRequest) -> None:
        state = self._state
        granted = not state.hears_leader and election.grants_pre_vote(state.hard_state, request, state.log)
        state.send(sender, PreVoteResponse(request.term if granted else state.current_term, granted))

    def count_pre_vote(self, sender: str, response: PreVoteResponse) -> bool:
        if self._state.role is not Role.PRE_CANDIDATE or response.term != self._state.current_term + 1:
            return False
        self._tally.add(sender)
        return self._tally.is_won and self._start_election("a majority would vote for it")

    def answer_vote(self, sender: str, request: RequestVoteRequest) -> None:
        state = self._state
        # Without a configuration it has no log: if it was a voter before it lost its disk, it may have voted already.
        granted = bool(state.voters) and election.grants_vote(state.hard_state, sender, request, state.log)
        if granted:
            state.hard_state = HardState(state.current_term, sender)
            state.timer.restart()
        state.send(sender, RequestVoteResponse(state.current_term, granted))

    def count_vote(self, sender: str, response: RequestVoteResponse) -> bool:
        state = self._state
        if state.role is not Role.CANDIDATE or response.term != state.current_term or not response.granted:
            return False
        self._tally.add(sender)
        return self._tally.is_won

    def take_over(self, sender: str, request: TimeoutNowRequest) -> bool:
        """The leader of this term wants this node to follow it, now, without asking first."""
        state = self._state
        is_leader = request.term == state.current_term and state.leader_id == sender
        if not is_leader or state.role is not Role.FOLLOWER or not state.is_voter:
            return False
        return self._start_election("the leader hands over to it", leadership_transfer=True)

    def _start_election(self, why: str, *, leadership_transfer: bool = False) -> bool:
        state = self._state
        state.hard_state = HardState(current_term=state.current_term + 1, voted_for=state.node_id)
        state.become(Role.CANDIDATE, None, why)
        state.timer.restart_with_another_timeout()
        if self._vote_for_itself():
            return True
        log = state.log
        state.send_to_voters(RequestVoteRequest(state.current_term, log.last_index, log.last_term, leadership_transfer))
        return False

    def _vote_for_itself(self) -> bool:
        self._tally = election.Tally(self._state.voters)
        self._tally.add(self._state.node_id)
        return self._tally.is_won
