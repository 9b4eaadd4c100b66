"""A network that loses, doubles, delays and reorders messages, and whose links break one way or both."""

import random
from collections.abc import Callable, Collection

from utils.raft.core.messages import Message

Schedule = Callable[[int, Callable[[], None]], None]


class SimulatedNetwork:
    def __init__(self, rng: random.Random, schedule: Schedule, deliver: Callable[[Message], None]) -> None:
        """`schedule(delay, action)` runs `action` later in virtual time."""
        self._rng = rng
        self._schedule = schedule
        self._deliver = deliver
        self._broken_links: set[tuple[str, str]] = set()
        self.loss = self.duplication = 0.0
        self.longest_delay = 1

    def send(self, message: Message) -> None:
        copies = 2 if self._rng.random() < self.duplication else 1
        for _ in range(copies):
            if self._rng.random() >= self.loss:
                # Mostly quick; now and then so late that an election lies between.
                longest = self.longest_delay * (20 if self._rng.random() < 0.02 else 1)
                self._schedule(self._rng.randint(1, longest), lambda: self._arrive(message))

    def break_link(self, sender: str, recipient: str) -> None:
        self._broken_links.add((sender, recipient))

    def separate(self, one_side: Collection[str], other_side: Collection[str]) -> None:
        for one in one_side:
            for other in other_side:
                self.break_link(one, other)
                self.break_link(other, one)

    def heal(self) -> None:
        self._broken_links.clear()

    def _arrive(self, message: Message) -> None:
        if (message.sender, message.recipient) not in self._broken_links:
            self._deliver(message)
