"""A disk and a network in memory, for tests of what runs above them. Both do what the real ones may do, at once."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from utils.raft.core.messages import Entry, LogBase, Message, Snapshot
from utils.raft.core.ready import HardState
from utils.raft.core.snapshots import log_beside_snapshot
from utils.raft.io.addresses import Addresses
from utils.raft.io.log_file import StorageFullError
from utils.raft.io.storage import StoredState


class MemoryStorage:
    """Outlives the node that used it, like a disk."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.snapshot = Snapshot()
        self.base = LogBase()
        self.entries: list[Entry] = []
        self.is_full = False
        self.is_open = False

    def open(self) -> StoredState:
        assert not self.is_open
        self.is_open = True
        if (rest := log_beside_snapshot(self.snapshot, self.base, self.entries)) is not None:
            self.base, self.entries = rest[0], list(rest[1])
        return StoredState(self.hard_state, self.snapshot, self.base, tuple(self.entries))

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._check_space()
        self.hard_state = hard_state or self.hard_state
        for entry in entries:
            del self.entries[entry.index - self.base.index - 1 :]
            self.entries.append(entry)

    def begin_log(self, base: LogBase, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._check_space()
        assert base.index <= self.snapshot.last_included_index
        self.hard_state = hard_state or self.hard_state
        self.base = base
        self.entries.clear()
        self.append(None, entries)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self._check_space()
        if snapshot.last_included_index > self.snapshot.last_included_index:
            self.snapshot = snapshot

    def read_snapshot(self) -> Snapshot:
        return self.snapshot

    def close(self) -> None:
        self.is_open = False

    def _check_space(self) -> None:
        if self.is_full:
            raise StorageFullError("no space in memory")


class MemoryNetwork:
    """Carries messages between the nodes of one event loop."""

    def __init__(self) -> None:
        self._receivers: dict[str, Callable[[list[Message]], None]] = {}
        self.cut_off: set[str] = set()

    def transport(self, node_id: str) -> "MemoryTransport":
        return MemoryTransport(self, node_id)

    def connect(self, node_id: str, receive: Callable[[list[Message]], None]) -> None:
        """From now on messages to `node_id` arrive there."""
        self._receivers[node_id] = receive

    def disconnect(self, node_id: str) -> None:
        self._receivers.pop(node_id, None)

    def carry(self, message: Message) -> None:
        """Delivers it soon, unless one of its ends is cut off or not connected by then."""
        asyncio.get_running_loop().call_soon(self._deliver, message)

    def _deliver(self, message: Message) -> None:
        if self.cut_off & {message.sender, message.recipient}:
            return
        if receive := self._receivers.get(message.recipient):
            receive([message])


class MemoryTransport:
    """One node's end of the network."""

    def __init__(self, network: MemoryNetwork, node_id: str) -> None:
        self._network = network
        self._node_id = node_id

    def start(self, addresses: Addresses) -> None:
        """There is nothing to open."""

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._network.carry(message)

    def heard(self, peer: str) -> None:
        """A peer in memory is never silent."""

    def keep(self, peers: Collection[str]) -> None:
        """There is nothing to close."""

    async def close(self) -> None:
        self._network.disconnect(self._node_id)
