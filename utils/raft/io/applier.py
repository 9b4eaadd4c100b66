"""The state machine of a node: what it has applied, and what came of it."""

import asyncio
from collections.abc import Sequence

from utils.observe.counters import count
from utils.raft.core.messages import Entry, EntryKind, LogBase, Snapshot
from utils.raft.errors import ProposalRefusedError
from utils.raft.io.proposals import Proposals
from utils.raft.io.snapshots import SnapshotKeeper
from utils.raft.state_machine import StateMachine


class Applier:
    """Applies in the order of the log, tells those who proposed, and has snapshots taken."""

    def __init__(self, machine: StateMachine, proposals: Proposals, snapshots: SnapshotKeeper) -> None:
        self._machine = machine
        self._proposals = proposals
        self._snapshots = snapshots
        self.last_applied = LogBase()
        # As of that entry, encoded; empty if there was none in the log yet.
        self._configuration = b""

    def restore(self, snapshot: Snapshot) -> None:
        """The state after the last entry that the snapshot covers. The default one leaves the machine as it is."""
        self.last_applied = LogBase(snapshot.last_included_index, snapshot.last_included_term)
        self._configuration = snapshot.configuration
        if self.last_applied.index:
            self._machine.restore(snapshot.data)
            self._snapshots.restored(snapshot)
            self._proposals.skipped_to(self.last_applied.index)

    def apply(self, entries: Sequence[Entry]) -> None:
        count("raft.entries_applied", len(entries))
        for entry in entries:
            assert entry.index == self.last_applied.index + 1, f"{entry.index} came after {self.last_applied.index}"
            result = self._machine.apply(entry.index, entry.data) if entry.kind is EntryKind.COMMAND else None
            if entry.kind is EntryKind.CONFIGURATION:
                self._configuration = entry.data
            self.last_applied = LogBase(entry.index, entry.term)
            self._snapshots.applied(entry)
            self._proposals.committed(entry.index, entry.term, result)
        if self._snapshots.is_due:
            self._take_snapshot()

    async def save_snapshot(self) -> int:
        """Of the state as it is, or newer; returns its last included index once it is durable.

        Raises ProposalRefusedError if there is no space for it.
        """
        index = self.last_applied.index
        while self._snapshots.index < index:
            is_saved = await asyncio.shield(self._snapshots.saving or self._take_snapshot())
            if not is_saved:
                raise ProposalRefusedError("there is no space for a snapshot")
        return self._snapshots.index

    def _take_snapshot(self) -> asyncio.Task[bool]:
        return self._snapshots.take(self._machine, self.last_applied, self._configuration)
