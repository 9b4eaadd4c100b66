"""Bully cores on a network that a test controls: what is sent is delivered, late, or lost."""

import random
from collections import deque
from collections.abc import Iterable

from order_executor.bully.core import BullyCore, Message, Role, Timing

TIMING = Timing(leader_silence=6, answer=3, takeover=6, repeat=6, fenced=12)
# Ticks after which everything that waits for something has given it up, a few times over.
LONG = 60


class Island:
    """Nodes by id; those in `down` hear and say nothing, and messages do not cross between `groups`."""

    def __init__(self, node_ids: Iterable[str], seed: int = 0) -> None:
        self._node_ids = tuple(node_ids)
        self._chance = random.Random(seed)
        self.nodes: dict[str, BullyCore] = {}
        self.down: set[str] = set(self._node_ids)
        self.groups: list[set[str]] = [set(self._node_ids)]
        # Of each message.
        self.loss = 0.0
        self.late = 0.0
        self.sent: list[Message] = []
        self._late: list[Message] = []
        for node_id in self._node_ids:
            self.start(node_id)

    def start(self, node_id: str) -> None:
        """Also one that was down: it remembers nothing."""
        self.down.discard(node_id)
        self.nodes[node_id] = BullyCore(node_id, self._node_ids, TIMING)
        self.deliver(self.nodes[node_id].start())

    def run(self, ticks: int = LONG) -> None:
        for _ in range(ticks):
            due, self._late = self._late, []
            self.deliver(due, again=True)
            for node_id in self._chance.sample(self._node_ids, len(self._node_ids)):
                if node_id not in self.down:
                    self.deliver(self.nodes[node_id].tick())

    def deliver(self, messages: list[Message], *, again: bool = False) -> None:
        """And what they lead to, and so on: that must end."""
        queue = deque(messages)
        for _ in range(10_000):
            if not queue:
                return
            message = queue.popleft()
            self.sent.append(message)
            if not self._arrives(message):
                continue
            if not again and self._chance.random() < self.late:
                self._late.append(message)
                continue
            queue += self.nodes[message.recipient].step(message)
        raise AssertionError("messages beget messages without end")

    def leaders(self) -> set[str]:
        return {
            node_id for node_id, node in self.nodes.items() if node.role is Role.LEADER and node_id not in self.down
        }

    def followed(self, among: Iterable[str]) -> set[str | None]:
        return {self.nodes[node_id].leader_id for node_id in among}

    def _arrives(self, message: Message) -> bool:
        if self.down & {message.sender, message.recipient} or self._chance.random() < self.loss:
            return False
        return any({message.sender, message.recipient} <= group for group in self.groups)
