"""A disk that forgets what was not synced: all of it, none of it, or the last part, as a power cut likes it."""

import dataclasses
import random
from collections import deque

from tests.simulation.chain import HashChain
from utils.raft.core.messages import Entry
from utils.raft.core.ready import HardState


@dataclasses.dataclass(frozen=True)
class Write:
    hard_state: HardState | None
    entries: tuple[Entry, ...]


class SimulatedDisk:
    """What is durable, and in `_unsynced` what is not yet."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []
        self.chain = HashChain()
        self._unsynced: deque[Write] = deque()

    def write(self, write: Write) -> None:
        self._unsynced.append(write)

    def sync_one(self) -> None:
        """The oldest unsynced write is durable."""
        self._make_durable(self._unsynced.popleft())

    def cut_power(self, rng: random.Random) -> None:
        """Of the unsynced writes any prefix survives; of the one after it, perhaps the first entries."""
        for _ in range(rng.randint(0, len(self._unsynced))):
            self.sync_one()
        if self._unsynced and rng.random() < 0.5:
            torn = self._unsynced[0]
            entries = torn.entries[: rng.randint(0, len(torn.entries))]
            self._make_durable(Write(torn.hard_state, entries))
        self._unsynced.clear()

    def _make_durable(self, write: Write) -> None:
        if write.hard_state is not None:
            assert write.hard_state.current_term >= self.hard_state.current_term, "the durable term went back"
            self.hard_state = write.hard_state
        if write.entries:
            del self.entries[write.entries[0].index - 1 :]
            self.entries.extend(write.entries)
            self.chain.put(write.entries)
