"""The Bully algorithm (Garcia-Molina, Elections in a Distributed Computing System, 1982, section III).

The highest node that answers wins:

- Whoever starts, or hears nothing of its leader, asks all higher nodes (ELECTION). If none of them says that it takes
  over (ANSWER), it leads, and tells all (COORDINATOR). If one does and is not heard of again, it asks once more.
- Whoever is asked answers, and asks in its turn, unless it leads: then it says so again.
- Whoever hears of a higher leader follows it, and pings it; whoever hears of a lower one calls an election.
- A leader repeats COORDINATOR, so that two leaders of a split hear of each other when it heals; the lower one yields.

What it cannot do: while messages are lost, two nodes may believe that they lead. So each start of leading is a *reign*,
which the runtime fences by an epoch in the database before anything is done in it (utils.two_phase_commit.fenced_log).

Pure: messages and ticks in; messages out.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass


class Kind(enum.Enum):
    PING = enum.auto()
    PONG = enum.auto()
    ELECTION = enum.auto()
    ANSWER = enum.auto()
    COORDINATOR = enum.auto()


@dataclass(frozen=True)
class Message:
    sender: str
    recipient: str
    kind: Kind
    # With PONG: whether the sender leads.
    leads: bool = False


@dataclass(frozen=True)
class Timing:
    """In ticks. A follower pings its leader every tick."""

    # Silence after which a leader is given up.
    leader_silence: int
    # How long the higher nodes have to answer, and then to take over.
    answer: int
    takeover: int
    # Between two COORDINATOR of a leader.
    repeat: int
    # A leader whose epoch another one has raised waits so long before it tries again: in a split, two would otherwise
    # take the epoch from each other faster than either can use it.
    fenced: int


class Role(enum.Enum):
    FOLLOWER = enum.auto()
    # Has asked the higher nodes, and nobody has answered yet.
    CANDIDATE = enum.auto()
    # A higher node has answered, and is to take over.
    WAITING = enum.auto()
    LEADER = enum.auto()
    # Led, and another node has raised the epoch since.
    FENCED = enum.auto()
    # Stops, and takes no part in elections any more.
    RESIGNED = enum.auto()


def rank(node_id: str) -> tuple[int, str]:
    """Who is higher: by the last number in the name (order_executor_10 is above order_executor_9), then by name."""
    numbers = re.findall(r"\d+", node_id)
    return (int(numbers[-1]) if numbers else 0, node_id)


class BullyCore:
    """`start` first; then `step` for each message and `tick` for each tick. Each returns the messages to send."""

    def __init__(self, node_id: str, peers: Iterable[str], timing: Timing) -> None:
        self.node_id = node_id
        self.role = Role.FOLLOWER
        self.leader_id: str | None = None
        # Counts how often this node has started to lead.
        self.reign = 0
        self._others = [peer for peer in peers if peer != node_id]
        self._timing = timing
        self._ticks_left = 0

    def start(self) -> list[Message]:
        """A node that starts, again or for the first time, calls an election: it may be the highest."""
        return self._call_election()

    def tick(self) -> list[Message]:
        self._ticks_left -= 1
        is_over = self._ticks_left <= 0
        match self.role:
            case Role.FOLLOWER if is_over:
                return self._call_election()
            case Role.FOLLOWER:
                assert self.leader_id is not None
                return [Message(self.node_id, self.leader_id, Kind.PING)]
            case Role.CANDIDATE if is_over:
                return self._lead()
            case Role.WAITING | Role.FENCED if is_over:
                return self._call_election()
            case Role.LEADER if is_over:
                self._ticks_left = self._timing.repeat
                return self._announce(self._others)
        return []

    def step(self, message: Message) -> list[Message]:
        sender = message.sender
        assert sender in self._others, message
        if message.kind is Kind.PING:
            return [Message(self.node_id, sender, Kind.PONG, leads=self.role is Role.LEADER)]
        if self.role is Role.RESIGNED:
            return self._watch_successor(message)
        match message.kind:
            case Kind.PONG:
                return self._pong(message)
            case Kind.ELECTION if rank(sender) < rank(self.node_id):
                return self._asked(sender)
            case Kind.ANSWER if self.role is Role.CANDIDATE and rank(sender) > rank(self.node_id):
                self.role = Role.WAITING
                self._ticks_left = self._timing.takeover
            case Kind.COORDINATOR:
                return self._heard_of_leader(sender)
        return []

    def fenced(self) -> list[Message]:
        """The epoch of this node's reign is over: somebody else has raised it."""
        if self.role is Role.LEADER:
            self.role = Role.FENCED
            self.leader_id = None
            self._ticks_left = self._timing.fenced
        return []

    def resign(self) -> list[Message]:
        """Leads no more, nor ever again; tells those who follow, so that they do not have to miss it."""
        led = self.role is Role.LEADER
        self.role = Role.RESIGNED
        self.leader_id = None
        return [Message(self.node_id, other, Kind.PONG, leads=False) for other in self._others] if led else []

    def _call_election(self) -> list[Message]:
        higher = [other for other in self._others if rank(other) > rank(self.node_id)]
        self.leader_id = None
        if not higher:
            return self._lead()
        self.role = Role.CANDIDATE
        self._ticks_left = self._timing.answer
        return [Message(self.node_id, other, Kind.ELECTION) for other in higher]

    def _lead(self) -> list[Message]:
        self.role = Role.LEADER
        self.leader_id = self.node_id
        self.reign += 1
        self._ticks_left = self._timing.repeat
        return self._announce(self._others)

    def _announce(self, to: Iterable[str]) -> list[Message]:
        return [Message(self.node_id, other, Kind.COORDINATOR) for other in to]

    def _asked(self, sender: str) -> list[Message]:
        answer = Message(self.node_id, sender, Kind.ANSWER)
        match self.role:
            case Role.LEADER:
                return [answer, *self._announce([sender])]
            case Role.FOLLOWER:
                return [answer, *self._call_election()]
            case _:
                return [answer]

    def _pong(self, message: Message) -> list[Message]:
        if self.role is not Role.FOLLOWER or message.sender != self.leader_id:
            return []
        if not message.leads:
            return self._call_election()
        self._ticks_left = self._timing.leader_silence
        return []

    def _heard_of_leader(self, sender: str) -> list[Message]:
        if rank(sender) < rank(self.node_id):
            # It must hear that it is not the highest.
            match self.role:
                case Role.LEADER:
                    return self._announce([sender])
                case Role.FOLLOWER:
                    return self._call_election()
                case _:
                    return []
        if self.role is Role.FOLLOWER and self.leader_id is not None and rank(sender) < rank(self.leader_id):
            # If the leader that it follows is gone, it will miss it itself.
            return []
        self.role = Role.FOLLOWER
        self.leader_id = sender
        self._ticks_left = self._timing.leader_silence
        return []

    def _watch_successor(self, message: Message) -> list[Message]:
        if message.kind is Kind.COORDINATOR:
            self.leader_id = message.sender
        return []
