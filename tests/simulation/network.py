"""A network that loses, doubles, delays, reorders and holds up messages, and whose links break one way or both."""

import random
import zlib
from collections.abc import Callable, Collection, Sequence

import msgspec

from tests.simulation.loop import SimulatedLoop
from utils.raft.core.messages import Message
from utils.raft.io.addresses import Addresses

_encoder = msgspec.msgpack.Encoder()


class SimulatedNetwork:
    def __init__(self, rng: random.Random, loop: SimulatedLoop, deliver: Callable[[Message], None]) -> None:
        self._rng = rng
        self._loop = loop
        self._deliver = deliver
        self._broken_links: set[tuple[str, str]] = set()
        # Links that hold everything up, and what they hold.
        self._clogged: dict[tuple[str, str], list[Message]] = {}
        self.loss = self.duplication = 0.0
        self.delay_us_max = 1_000
        # Of everything that arrived, when and in which order.
        self.trace = 0

    def send(self, message: Message) -> None:
        copies = 2 if self.duplication and self._rng.random() < self.duplication else 1
        for _ in range(copies):
            if self._rng.random() >= self.loss:
                # Mostly quick; now and then so late that an election lies between.
                late = 20 if self._rng.random() < 0.02 else 1
                self._loop.schedule(int(self._rng.random() * self.delay_us_max * late) + 100, self._arrive, message)

    def break_link(self, sender: str, recipient: str) -> None:
        self._broken_links.add((sender, recipient))

    def separate(self, one_side: Collection[str], other_side: Collection[str]) -> None:
        for one in one_side:
            for other in other_side:
                self.break_link(one, other)
                self.break_link(other, one)

    def clog(self, sender: str, recipient: str) -> None:
        self._clogged.setdefault((sender, recipient), [])

    def heal(self) -> None:
        """What was held up arrives now, all of it."""
        self._broken_links.clear()
        clogged, self._clogged = self._clogged, {}
        for messages in clogged.values():
            for message in messages:
                self._arrive(message)

    def _arrive(self, message: Message) -> None:
        link = (message.sender, message.recipient)
        if link in self._broken_links:
            return
        if link in self._clogged:
            self._clogged[link].append(message)
            return
        self.trace = zlib.crc32(_encoder.encode((self._loop.now_us, message)), self.trace)
        self._deliver(message)


class SimulatedTransport:
    """One node's end of it: a `utils.raft.io.transport.Transport`."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def start(self, addresses: Addresses) -> None:
        """Whoever is sent to is found by its id."""

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._send(message)

    def heard(self, peer: str) -> None:
        """What is silent is left to the core."""

    def keep(self, peers: Collection[str]) -> None:
        """Nothing leads to anybody."""

    async def close(self) -> None:
        """There is nothing to close."""
