"""Several real cores on a table. The test says whose time passes, which messages arrive, and who is down."""

from collections.abc import Callable, Mapping

from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS, entries_of
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import Body, Entry, LogBase, Message, Snapshot
from utils.raft.core.ready import Compaction, HardState, Role


class Node:
    """A core and its disk, which takes everything at once."""

    def __init__(self, node_id: str, voters: str, terms: tuple[int, ...], term: int, limits: Limits) -> None:
        """`terms`: of the entries of its log; `term`: the one that it is in."""
        self.node_id = node_id
        self._voters = voters
        self._limits = limits
        self.hard_state = HardState(term)
        self.base = LogBase()
        self.log = list(entries_of(*terms))
        self.snapshot = Snapshot()
        self.committed: list[Entry] = []
        self.confirmed_reads: list[tuple[int, int]] = []
        self.is_down = False
        self.restart()

    def restart(self) -> None:
        self.is_down = False
        self.core = RaftCore(
            node_id=self.node_id,
            voters=tuple(self._voters),
            hard_state=self.hard_state,
            snapshot=self.snapshot,
            base=self.base,
            entries=self.log,
            # The longest: who is to campaign is told so by the test.
            random_ticks=lambda _, high: high,
            election_ticks=ELECTION_TICKS,
            heartbeat_ticks=HEARTBEAT_TICKS,
            limits=self._limits,
        )

    @property
    def terms(self) -> tuple[int, ...]:
        return tuple(entry.term for entry in self.log)

    def leads(self) -> bool:
        return self.core.role is Role.LEADER

    def work(self) -> list[Message]:
        """Does all there is to do; returns what it wants to send."""
        sent: list[Message] = []
        while (ready := self.core.ready()) is not None:
            self.hard_state = ready.hard_state or self.hard_state
            self.snapshot = ready.snapshot or self.snapshot
            self._compact(ready.compaction)
            for entry in ready.entries:
                del self.log[entry.index - self.base.index - 1 :]
                self.log.append(entry)
            self.committed += ready.committed
            self.confirmed_reads += ready.confirmed_reads
            sent += ready.early_messages + ready.messages
            if ready.entries:
                self.core.persisted(ready.entries[-1].index, ready.entries[-1].term)
            self.core.applied(self.core.commit_index)
            if ready.needs_snapshot:
                self.core.bring_snapshot(self.snapshot)
        return sent

    def take_snapshot(self) -> None:
        """Of all that is committed, and the log forgets it."""
        index = self.core.commit_index
        term = self.core._state.log.term_at(index)
        assert term is not None
        self.snapshot = Snapshot(index, term, b"", b"state after %d" % index)
        self.core.compact(index)

    def _compact(self, compaction: Compaction | None) -> None:
        if compaction is not None:
            self.base, self.log = compaction.base, list(compaction.entries)


class Table:
    def __init__(self, logs: Mapping[str, tuple[int, ...]], *, term: int = 0, limits: Limits | None = None) -> None:
        """`logs`: node ids of one letter, and the terms of the entries that each has. `term`: all are in it."""
        self.nodes = {
            node_id: Node(node_id, "".join(logs), terms, term, limits or Limits()) for node_id, terms in logs.items()
        }
        # On the way, in the order of sending.
        self.post: list[Message] = []
        self._cut_off: set[str] = set()

    def __getitem__(self, node_id: str) -> Node:
        return self.nodes[node_id]

    def crash(self, *node_ids: str) -> None:
        for node_id in node_ids:
            self[node_id].is_down = True
        self.post = [message for message in self.post if message.sender not in node_ids]

    def restart(self, *node_ids: str) -> None:
        for node_id in node_ids:
            self[node_id].restart()

    def cut_off(self, *node_ids: str) -> None:
        """They neither reach anybody nor are reached; what is on the way is lost."""
        self._cut_off = set(node_ids)

    def heal(self) -> None:
        self._cut_off = set()

    def step(self, sender: str, recipient: str, body: Body) -> None:
        """A message that the test makes, or kept, arrives."""
        self[recipient].core.step(Message(sender, recipient, body))
        self._work(recipient)

    def propose(self, node_id: str, command: bytes = b"x") -> int:
        [index] = self[node_id].core.propose([command])
        self._work(node_id)
        return index

    def tick(self, *node_ids: str, ticks: int = 1) -> None:
        for node_id in node_ids:
            if not self[node_id].is_down:
                for _ in range(ticks):
                    self[node_id].core.tick()
                    self._work(node_id)

    def heartbeat(self, leader: str) -> None:
        self.tick(leader, ticks=HEARTBEAT_TICKS)
        self.deliver()

    def deliver(self, takes: Callable[[Message], bool] = lambda _: True) -> None:
        """All that is on the way and all that follows from it, except what the filter does not take: that is lost."""
        while self.post:
            message = self.post.pop(0)
            ends = {message.sender, message.recipient}
            if self[message.recipient].is_down or ends & self._cut_off or not takes(message):
                continue
            self[message.recipient].core.step(message)
            self._work(message.recipient)

    def take(self, body_type: type[Body], recipient: str) -> list[Message]:
        """Takes messages off the way, to put them back later or never."""
        taken = [m for m in self.post if isinstance(m.body, body_type) and m.recipient == recipient]
        self.post = [message for message in self.post if message not in taken]
        return taken

    def time_out(self, node_id: str) -> None:
        """Nobody has heard a leader for long, and this node loses patience first; its requests are on the way."""
        others = [other for other in self.nodes if other != node_id and not self[other].leads()]
        self.tick(*others, ticks=ELECTION_TICKS)
        self.tick(node_id, ticks=2 * ELECTION_TICKS)

    def elect(self, node_id: str, *, without: str = "") -> None:
        """It is elected, and nothing of what it then sends arrives. `without`: nodes that do not hear of it."""
        self.time_out(node_id)
        self._let_it_win(node_id, without)
        if not self[node_id].leads():
            # It first had to learn of a later term.
            self.tick(node_id, ticks=2 * ELECTION_TICKS)
            self._let_it_win(node_id, without)
        assert self[node_id].leads(), f"{node_id} is not elected"
        self.post.clear()

    def _let_it_win(self, node_id: str, without: str) -> None:
        while not self[node_id].leads() and self.post:
            message = self.post.pop(0)
            ends = {message.sender, message.recipient}
            if not self[message.recipient].is_down and not ends & (set(without) | self._cut_off):
                self[message.recipient].core.step(message)
                self._work(message.recipient)

    def _work(self, node_id: str) -> None:
        self.post += self[node_id].work()
