"""What a server does when time passes and when a message comes, in each role (paper, figure 2: rules for servers)."""

from utils.raft.core.campaign import Campaign
from utils.raft.core.follower import Following
from utils.raft.core.leader import Leadership
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    Answer,
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    TimeoutNowRequest,
)
from utils.raft.core.ready import PeerForgot, Role, TransferGivenUp
from utils.raft.core.state import NodeState


class Rules:
    """All changes of role and term are made here, or by a campaign or a following in its own part of the rules."""

    def __init__(
        self, state: NodeState, following: Following, *, election_ticks: int, heartbeat_ticks: int, limits: Limits
    ) -> None:
        self._state = state
        self._following = following
        self._campaign = Campaign(state)
        self._election_ticks = election_ticks
        self._heartbeat_ticks = heartbeat_ticks
        self._limits = limits

    def tick(self) -> None:
        timer = self._state.timer
        timer.tick()
        if self._state.leadership is not None:
            self._tick_as_leader(self._state.leadership)
        elif timer.is_over and self._campaign.start():
            self._become_leader()

    def step(self, message: Message) -> None:
        """Messages of strangers, for others, of the past or twice do no harm."""
        state, sender, body = self._state, message.sender, message.body
        if message.recipient != state.node_id or sender == state.node_id:
            return
        # What strangers answer counts for nothing.
        if isinstance(body, Answer) and not self._was_asked(sender):
            return
        match body:
            # These two speak of a term that nobody is in yet: they change nothing here.
            case PreVoteRequest():
                self._campaign.answer_pre_vote(sender, body)
                return
            case PreVoteResponse(granted=True):
                if self._campaign.count_pre_vote(sender, body):
                    self._become_leader()
                return
            case RequestVoteRequest() | AppendEntriesRequest() | InstallSnapshotRequest() | TimeoutNowRequest() if (
                state.is_stranger(sender)
            ):
                return
            # A node that hears a leader helps nobody to depose it, and learns no term from whoever tries
            # (dissertation, section 4.2.3), unless the leader itself wants it.
            case RequestVoteRequest() if state.hears_leader and not body.leadership_transfer:
                return
        if body.term > state.current_term:
            state.become_follower(body.term, None, "saw a higher term")
        self._step_in_its_term(sender, body)

    def persisted(self, last_index: int, last_term: int) -> None:
        """This node's own disk has the entries up to this one."""
        # Entries of an earlier term are not counted anyway, and might have been replaced since they were handed out.
        leadership = self._state.leadership
        if leadership is not None and last_term == leadership.term:
            leadership.persisted(last_index)
            self._step_down_if_removed(leadership)

    def _was_asked(self, sender: str) -> bool:
        state = self._state
        is_sent_to = state.leadership is not None and state.leadership.replication.sends_to(sender)
        return is_sent_to or sender in state.log.configuration.members

    def _step_in_its_term(self, sender: str, body: Body) -> None:
        """This node's term is that of `body`, or a later one."""
        leadership = self._state.leadership
        match body:
            case RequestVoteRequest():
                self._campaign.answer_vote(sender, body)
            case RequestVoteResponse():
                if self._campaign.count_vote(sender, body):
                    self._become_leader()
            case TimeoutNowRequest():
                if self._campaign.take_over(sender, body):
                    self._become_leader()
            case AppendEntriesRequest():
                self._following.append_entries(sender, body)
            case InstallSnapshotRequest():
                self._following.install_snapshot(sender, body)
            case AppendEntriesResponse() | InstallSnapshotResponse():
                if leadership is None or body.term != leadership.term:
                    return
                if not leadership.answered(sender, body):
                    self._state.events.append(PeerForgot(peer=sender))
                self._step_down_if_removed(leadership)

    def _tick_as_leader(self, leadership: Leadership) -> None:
        state = self._state
        target = leadership.tick()
        if target is not None:
            state.events.append(TransferGivenUp(target=target))
        if state.timer.is_minimum_over:
            state.timer.restart()
            if not leadership.take_majority_activity():
                state.become_follower(state.current_term, None, "a majority did not answer")

    def _step_down_if_removed(self, leadership: Leadership) -> None:
        """Once a leader's own removal is committed it is done; it sends off the next one (dissertation, 4.2.2)."""
        state = self._state
        if not leadership.is_removing_itself or state.log.configuration_index > state.log.commit_index:
            return
        successor = leadership.replication.most_caught_up()
        state.become_follower(state.current_term, None, "it was removed")
        if successor is not None:
            state.send(successor, TimeoutNowRequest(state.current_term))

    def _become_leader(self) -> None:
        state = self._state
        state.become(Role.LEADER, state.node_id, "a majority voted for it")
        state.timer.restart()
        state.leadership = Leadership(
            state.node_id,
            term=state.current_term,
            log=state.log,
            heartbeat_ticks=self._heartbeat_ticks,
            election_ticks=self._election_ticks,
            limits=self._limits,
        )
        state.leadership.append(EntryKind.NO_OP, (b"",))
