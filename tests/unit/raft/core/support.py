"""One core on a table: messages are put in by hand, and what comes out is looked at."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from utils.raft.core.configuration import Configuration
from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    Entry,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    LogBase,
    Message,
    PreVoteResponse,
    RequestVoteResponse,
    Snapshot,
)
from utils.raft.core.ready import Event, HardState, Ready, Role

_B = TypeVar("_B")

ELECTION_TICKS = 10
HEARTBEAT_TICKS = 2
THREE = ("a", "b", "c")
FIVE = ("a", "b", "c", "d", "e")


def entries_of(*terms: int, first_index: int = 1) -> tuple[Entry, ...]:
    """Commands at consecutive indexes, one for each term."""
    return tuple(
        Entry(index, term, EntryKind.COMMAND, b"%d.%d" % (index, term))
        for index, term in enumerate(terms, start=first_index)
    )


def configuration_entry(index: int, term: int, voters: str, learners: str = "") -> Entry:
    """Voters and learners of one letter each."""
    configuration = Configuration(dict.fromkeys(voters, ""), dict.fromkeys(learners, ""))
    return Entry(index, term, EntryKind.CONFIGURATION, configuration.encoded())


class Bench:
    """Core "a". Everything it writes is durable at once, unless `is_disk_slow`."""

    def __init__(
        self,
        *,
        voters: Sequence[str] = THREE,
        term: int = 0,
        voted_for: str | None = None,
        log: Iterable[Entry] = (),
        timeout: int = ELECTION_TICKS,
        limits: Limits | None = None,
        snapshot: Snapshot | None = None,
        base: LogBase | None = None,
    ) -> None:
        """`base`: where the log begins; at the end of the snapshot, unless it is given."""
        snapshot = snapshot or Snapshot()
        base = base or LogBase(snapshot.last_included_index, snapshot.last_included_term)
        self.voters = voters
        self.timeouts_drawn: list[tuple[int, int]] = []
        self.timeout = timeout
        self.is_disk_slow = False
        self.core = RaftCore(
            node_id="a",
            voters=voters,
            hard_state=HardState(term, voted_for),
            snapshot=snapshot,
            base=base,
            entries=log,
            random_ticks=self._draw,
            election_ticks=ELECTION_TICKS,
            heartbeat_ticks=HEARTBEAT_TICKS,
            limits=limits or Limits(),
        )
        self.hard_state = HardState(term, voted_for)
        self.base = base
        self.log = list(log)
        self.snapshot = snapshot
        self.needs_snapshot = False
        self.events: list[Event] = []
        self.committed: list[Entry] = []
        self.confirmed_reads: list[tuple[int, int]] = []
        self.sent: list[Message] = []

    def _draw(self, low: int, high: int) -> int:
        self.timeouts_drawn.append((low, high))
        return self.timeout

    def drain(self) -> list[Ready]:
        """Does all there is to do; keeps what was sent last in `sent`."""
        self.sent = []
        readies = []
        while (ready := self.core.ready()) is not None:
            readies.append(ready)
            self.hard_state = ready.hard_state or self.hard_state
            self.snapshot = ready.snapshot or self.snapshot
            if ready.compaction is not None:
                self.base, self.log = ready.compaction.base, list(ready.compaction.entries)
            for entry in ready.entries:
                del self.log[entry.index - self.base.index - 1 :]
                self.log.append(entry)
            self.needs_snapshot |= ready.needs_snapshot
            self.events += ready.events
            self.sent += ready.early_messages + ready.messages
            self.committed += ready.committed
            self.confirmed_reads += ready.confirmed_reads
            if ready.entries and not self.is_disk_slow:
                self.core.persisted(ready.entries[-1].index, ready.entries[-1].term)
        return readies

    # Methods: mypy believes that what a property said stays so.

    def role(self) -> Role:
        return self.core.role

    def is_ready(self) -> bool:
        return self.core.is_ready

    def receive(self, sender: str, body: Body) -> list[Message]:
        self.core.step(Message(sender, "a", body))
        self.drain()
        return self.sent

    def answer_to(self, sender: str, body: Body, answer_type: type[_B]) -> _B:
        """The one answer to a request."""
        [message] = self.receive(sender, body)
        assert message.recipient == sender
        assert isinstance(message.body, answer_type)
        return message.body

    def tick(self, ticks: int = 1) -> list[Message]:
        """All that was sent while time went by."""
        sent = []
        for _ in range(ticks):
            self.core.tick()
            self.drain()
            sent += self.sent
        self.sent = sent
        return sent

    def sent_to(self, recipient: str, body_type: type[_B]) -> list[_B]:
        bodies = [message.body for message in self.sent if message.recipient == recipient]
        return [body for body in bodies if isinstance(body, body_type)]

    # Ways to become something

    def campaign(self) -> None:
        """Lets the election timeout pass and wins the pre-vote."""
        self.tick(self.timeout)
        for voter in self.voters[1 : len(self.voters) // 2 + 1]:
            self.receive(voter, PreVoteResponse(self.core.current_term + 1, granted=True))

    def campaign_and_win(self) -> None:
        self.campaign()
        for voter in self.voters[1 : len(self.voters) // 2 + 1]:
            self.receive(voter, RequestVoteResponse(self.core.current_term, granted=True))

    def lead(self) -> None:
        """Is elected, and the others' logs are known to be like its own, without the no-op."""
        self.campaign_and_win()
        for voter in self.voters[1:]:
            self.accept(voter, self.core.last_index - 1)

    def lead_ready(self) -> None:
        """Leads and has committed its no-op."""
        self.lead()
        for voter in self.voters[1:]:
            self.accept(voter, self.core.last_index)
        assert self.core.is_ready

    def accept(self, peer: str, match_index: int, *, read_id: int = 0) -> None:
        """`peer` has acknowledged the log up to `match_index`."""
        answer = AppendEntriesResponse(self.core.current_term, success=True, match_index=match_index, read_id=read_id)
        self.receive(peer, answer)

    def reject(self, peer: str, rejected_index: int, conflict_index: int, conflict_term: int = 0) -> None:
        """`peer` has no such entry as the one that it was to append after."""
        answer = AppendEntriesResponse(
            self.core.current_term,
            success=False,
            conflict_index=conflict_index,
            conflict_term=conflict_term,
            rejected_index=rejected_index,
        )
        self.receive(peer, answer)

    def commit_commands(self, count: int) -> None:
        """Everybody has that many more."""
        self.core.propose([b"x"] * count)
        self.drain()
        for voter in self.voters[1:]:
            self.accept(voter, self.core.last_index)
        self.core.applied(self.core.commit_index)

    def follow(self, leader: str = "b", *, term: int | None = None) -> None:
        """Hears a heartbeat of `leader` that says nothing about the log."""
        self.append(leader, term=self.core.current_term if term is None else term)

    def install(
        self,
        leader: str = "b",
        *,
        term: int,
        last: tuple[int, int],
        offset: int = 0,
        data: bytes,
        done: bool = True,
        configuration: bytes = b"",
    ) -> InstallSnapshotResponse:
        """What it answers to a chunk; `last` is index and term of the last entry that the snapshot covers."""
        request = InstallSnapshotRequest(term, *last, configuration, offset, data, done)
        return self.answer_to(leader, request, InstallSnapshotResponse)

    def append(
        self,
        leader: str = "b",
        *,
        term: int,
        prev: tuple[int, int] = (0, 0),
        entries: Iterable[Entry] = (),
        commit: int = 0,
        read_id: int = 0,
    ) -> AppendEntriesResponse:
        """What it answers to AppendEntries; `prev` is index and term of the entry before."""
        request = AppendEntriesRequest(term, *prev, tuple(entries), commit, read_id)
        return self.answer_to(leader, request, AppendEntriesResponse)
