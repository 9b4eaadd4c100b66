"""A disk that forgets what was not synced: all of it, none of it, or the last part, as a power cut likes it."""

import dataclasses
import random
from collections import deque

from tests.simulation.chain import HashChain
from tests.simulation.machine import machine_hash
from utils.raft.core.messages import Entry, LogBase, Snapshot
from utils.raft.core.ready import Compaction, HardState
from utils.raft.core.snapshots import log_beside_snapshot


@dataclasses.dataclass(frozen=True)
class Write:
    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    compaction: Compaction | None = None


class SimulatedDisk:
    """What is durable, and in `_unsynced` what is not yet."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.snapshot = Snapshot()
        self.base = LogBase()
        self.entries: list[Entry] = []
        self.chain = HashChain()
        self._unsynced: deque[Write] = deque()

    def read(self) -> None:
        """After a power cut: what counts of the log beside the snapshot."""
        if (kept := log_beside_snapshot(self.snapshot, self.base, self.entries)) is not None:
            self._begin_log(Compaction(kept[0], tuple(kept[1])))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Durable when it returns: for snapshots that the node takes itself, beside its log."""
        if snapshot.last_included_index > self.snapshot.last_included_index:
            self.snapshot = snapshot

    def write(self, write: Write) -> None:
        self._unsynced.append(write)

    def sync_one(self) -> None:
        """The oldest unsynced write is durable."""
        for step in _steps(self._unsynced.popleft()):
            self._make_durable(step)

    def cut_power(self, rng: random.Random) -> None:
        """Of the unsynced writes any prefix survives; of the one after it, perhaps the first steps and entries."""
        for _ in range(rng.randint(0, len(self._unsynced))):
            self.sync_one()
        if self._unsynced and rng.random() < 0.5:
            steps = _steps(self._unsynced[0])
            for step in steps[: rng.randint(0, len(steps) - 1)]:
                self._make_durable(step)
            if len(steps) == 1:
                [torn] = steps
                entries = torn.entries[: rng.randint(0, len(torn.entries))]
                self._make_durable(dataclasses.replace(torn, entries=entries))
        self._unsynced.clear()

    def _make_durable(self, write: Write) -> None:
        if write.snapshot is not None:
            self.save_snapshot(write.snapshot)
        if write.compaction is not None:
            self._begin_log(write.compaction)
        if write.hard_state is not None:
            assert write.hard_state.current_term >= self.hard_state.current_term, "the durable term went back"
            self.hard_state = write.hard_state
        if write.entries:
            del self.entries[write.entries[0].index - self.base.index - 1 :]
            self.entries.extend(write.entries)
            self.chain.put(write.entries)

    def _begin_log(self, compaction: Compaction) -> None:
        base = compaction.base
        base_hash = self.chain.at(base.index)
        if self.snapshot.last_included_index == base.index:
            base_hash = machine_hash(self.snapshot)
        assert base_hash is not None
        self.base = base
        self.entries = list(compaction.entries)
        self.chain.begin_at(base.index, base_hash)
        self.chain.put(compaction.entries)


def _steps(write: Write) -> list[Write]:
    """A snapshot is durable before the log begins anew, and that, with the hard state, before new entries."""
    if write.compaction is None:
        return [write]
    steps = [Write(hard_state=write.hard_state, compaction=write.compaction), Write(entries=write.entries)]
    return [Write(snapshot=write.snapshot), *steps]
