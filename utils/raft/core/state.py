"""What electing, following and leading have in common: who this node is, what it holds and what it has to say."""

from utils.raft.core.election import ElectionTimer
from utils.raft.core.leader import Leadership
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import Body, Message
from utils.raft.core.ready import Event, HardState, Role, RoleChanged


class NodeState:
    """The variables of figure 2 of the paper, and those that lie between the parts of the core."""

    def __init__(self, node_id: str, hard_state: HardState, log: RaftLog, timer: ElectionTimer) -> None:
        self.node_id = node_id
        self.hard_state = hard_state
        self.log = log
        self.timer = timer
        self.role = Role.FOLLOWER
        self.leader_id: str | None = None
        # None unless this node leads.
        self.leadership: Leadership | None = None
        self.messages: list[Message] = []
        self.events: list[Event] = []

    @property
    def current_term(self) -> int:
        return self.hard_state.current_term

    @property
    def voters(self) -> dict[str, str]:
        return self.log.configuration.voters

    @property
    def is_voter(self) -> bool:
        return self.node_id in self.voters

    @property
    def hears_leader(self) -> bool:
        """A leader lives, as far as this node can know: no other is needed."""
        return self.leader_id is not None and not self.timer.is_minimum_over

    def is_stranger(self, sender: str) -> bool:
        """`sender` is no member, and a leader is heard who would know: at most it is told that it finds no votes.

        Without a leader strangers may ask: this node's configuration may be an old one, or none (dissertation, 4.1).
        """
        return self.hears_leader and sender != self.leader_id and sender not in self.log.configuration.members

    def become(self, role: Role, leader_id: str | None, why: str) -> None:
        self.role = role
        self.leader_id = leader_id
        self.leadership = None
        self.events.append(RoleChanged(role=role, term=self.current_term, leader_id=leader_id, why=why))

    def become_follower(self, term: int, leader_id: str | None, why: str) -> None:
        if term > self.current_term:
            self.hard_state = HardState(current_term=term)
        self.become(Role.FOLLOWER, leader_id, why)
        self.timer.restart_with_another_timeout()

    def send(self, recipient: str, body: Body) -> None:
        """Leaves once what this node has promised with it is durable."""
        self.messages.append(Message(self.node_id, recipient, body))

    def send_to_voters(self, body: Body) -> None:
        for voter in self.voters:
            if voter != self.node_id:
                self.send(voter, body)
