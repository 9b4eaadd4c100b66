"""The real storage, with a witness: what it said is durable must be what it reads back after any crash."""

import dataclasses
from collections.abc import Callable, Sequence

from tests.simulation.chain import HashChain
from tests.simulation.invariants import require
from utils.raft.core.messages import Entry, LogBase, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.io.storage import Storage, StoredState


@dataclasses.dataclass(frozen=True)
class _Log:
    hard_state: HardState
    base: LogBase
    entries: tuple[Entry, ...] = ()

    def appended(self, hard_state: HardState | None, entries: Sequence[Entry]) -> "_Log":
        kept = list(self.entries)
        for entry in entries:
            del kept[entry.index - self.base.index - 1 :]
            kept.append(entry)
        return _Log(hard_state or self.hard_state, self.base, tuple(kept))

    def after(self, index: int) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.index > index)


class Witness:
    """Of one node's disk, and for as long as that lives."""

    def __init__(self, node_id: str, prefix: Callable[[int], int]) -> None:
        """`prefix(index)`: the hash of what is committed up to there."""
        self._node_id = node_id
        self._prefix = prefix
        self._promised = _Log(HardState(), LogBase())
        # What a write makes of the log that was begun and has not returned: it may be there after a crash, or not.
        self._attempted: _Log | None = None
        self._snapshot_index = 0
        self.chain = HashChain()

    @property
    def hard_state(self) -> HardState:
        return self._promised.hard_state

    def appending(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._attempted = self._promised.appended(hard_state, entries)

    def beginning(self, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._attempted = _Log(hard_state or self.hard_state, base).appended(None, entries)

    def written(self, entries: Sequence[Entry]) -> None:
        assert self._attempted is not None
        is_new = self._attempted.base != self._promised.base
        self._promised, self._attempted = self._attempted, None
        if is_new:
            self._begin_chain()
        else:
            self.chain.put(entries)

    def saved(self, snapshot: Snapshot) -> None:
        self._snapshot_index = max(self._snapshot_index, snapshot.last_included_index)

    def recovered(self, state: StoredState) -> None:
        """After a crash, or nothing: all that was promised, perhaps what was attempted, and nothing else."""
        snapshot_index = state.snapshot.last_included_index
        require(snapshot_index >= self._snapshot_index, "a durable snapshot stays", f"{self._node_id}: it is gone")
        self._snapshot_index = snapshot_index
        candidates = [self._promised] if self._attempted is None else [self._promised, self._attempted]
        found = (state.hard_state, tuple(entry for entry in state.entries if entry.index > snapshot_index))
        expected = [(log.hard_state, self._kept(log, state.snapshot)) for log in candidates]
        require(found in expected, "what is durable stays", f"{self._node_id} reads {found}, and not one of {expected}")
        self._promised, self._attempted = _Log(state.hard_state, state.base, state.entries), None
        self._begin_chain()

    def _kept(self, log: _Log, snapshot: Snapshot) -> tuple[Entry, ...]:
        """A snapshot of the leader is durable before the log that contradicts it is gone; then that does not count."""
        index = snapshot.last_included_index
        contradicts = any(e.index == index and e.term != snapshot.last_included_term for e in log.entries)
        return () if contradicts else log.after(index)

    def _begin_chain(self) -> None:
        base = self._promised.base.index
        self.chain.begin_at(base, self._prefix(base))
        self.chain.put(self._promised.entries)


class WitnessedStorage:
    """A `utils.raft.io.storage.Storage` that does nothing but tell the witness."""

    def __init__(self, storage: Storage, witness: Witness) -> None:
        self._storage = storage
        self._witness = witness

    def open(self) -> StoredState:
        state = self._storage.open()
        self._witness.recovered(state)
        return state

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._witness.appending(hard_state, entries)
        self._storage.append(hard_state, entries)
        self._witness.written(entries)

    def begin_log(self, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._witness.beginning(base, hard_state, entries)
        self._storage.begin_log(base, hard_state, entries)
        self._witness.written(entries)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self._storage.save_snapshot(snapshot)
        self._witness.saved(snapshot)

    def read_snapshot(self) -> Snapshot:
        return self._storage.read_snapshot()

    def close(self) -> None:
        self._storage.close()
