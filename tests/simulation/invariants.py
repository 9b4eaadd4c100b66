"""What must hold after every step, whatever was lost, late, doubled, cut or switched off (paper, figure 3)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from tests.simulation.chain import EMPTY, HashChain
from tests.simulation.disk import SimulatedDisk
from utils.raft.core.core import RaftCore
from utils.raft.core.messages import Entry, EntryKind, Message, RequestVoteRequest, RequestVoteResponse
from utils.raft.core.ready import Role


class InvariantViolated(AssertionError):
    """The protocol broke a promise."""


def _require(holds: bool, promise: str, detail: str) -> None:
    if not holds:
        raise InvariantViolated(f"{promise}: {detail}")


class Invariants:
    """Watches all nodes from outside and for ever: it sees what each has forgotten."""

    def __init__(self, durable_logs: Callable[[], Sequence[HashChain]]) -> None:
        self._durable_logs = durable_logs
        self._leaders: dict[int, str] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._prefixes: dict[tuple[int, int], bytes] = {}
        # By index: the hash of the log up to there, and the term in which that was first known to be committed.
        self._committed: list[tuple[bytes, int]] = [(EMPTY, 0)]
        self._reads: dict[tuple[str, int], int] = {}
        self._applied_index: defaultdict[str, int] = defaultdict(int)
        self.commands_committed = 0
        self.reads_confirmed = 0
        self.snapshots_installed = 0

    @property
    def committed_index(self) -> int:
        return len(self._committed) - 1

    @property
    def elections(self) -> int:
        return len(self._leaders)

    def entries_taken(self, log: HashChain, entries: Iterable[Entry]) -> None:
        """Log Matching: the same index and term, the same log up to there."""
        for entry in entries:
            prefix = log.at(entry.index)
            assert prefix is not None
            known = self._prefixes.setdefault((entry.index, entry.term), prefix)
            _require(
                known == prefix, "log matching", f"two logs differ at or before {entry.index} of term {entry.term}"
            )

    def elected(self, node_id: str, term: int, log: HashChain) -> None:
        """Election Safety and Leader Completeness; a leader has the votes of its own term."""
        leader = self._leaders.setdefault(term, node_id)
        _require(leader == node_id, "election safety", f"{leader} and {node_id} both lead in term {term}")
        votes = sum(candidate == node_id for (_, voted_in), candidate in self._votes.items() if voted_in == term)
        _require(
            votes > len(self._durable_logs()) // 2, "election by majority", f"{node_id} has {votes} in term {term}"
        )
        for index in range(self.committed_index, 0, -1):
            prefix, committed_in_term = self._committed[index]
            if committed_in_term < term:
                detail = f"{node_id} leads in term {term} without entry {index}, committed in term {committed_in_term}"
                _require(log.holds(index, prefix), "leader completeness", detail)
                return

    def committed(self, log: HashChain, previous_index: int, core: RaftCore) -> None:
        """Commit indexes grow, agree, and stand for what a majority of the disks holds."""
        _require(
            core.commit_index >= previous_index, "commit never regresses", f"{previous_index} to {core.commit_index}"
        )
        if core.role is Role.LEADER and core.commit_index > self.committed_index:
            term = core._state.log.term_at(core.commit_index)
            detail = f"{core.commit_index} is of term {term}, not {core.current_term}"
            _require(term == core.current_term, "commit by counting only in the own term", detail)
        # What lies before a snapshot that was installed was compared with it.
        for index in range(max(previous_index + 1, log.base_index), core.commit_index + 1):
            prefix = log.at(index)
            assert prefix is not None
            if index <= self.committed_index:
                _require(
                    self._committed[index][0] == prefix, "state machine safety", f"two entries committed at {index}"
                )
                continue
            logs = self._durable_logs()
            holding = sum(durable.holds(index, prefix) for durable in logs)
            _require(holding > len(logs) // 2, "durable commit", f"entry {index} is on {holding} of {len(logs)} disks")
            self._committed.append((prefix, core.current_term))

    def applied(self, node_id: str, entry: Entry, machine: bytes) -> None:
        """State Machine Safety: by the hash of everything applied so far."""
        _require(entry.index <= self.committed_index, "state machine safety", f"{entry.index} applied uncommitted")
        _require(
            self._committed[entry.index][0] == machine, "state machine safety", f"{node_id} differs at {entry.index}"
        )
        is_first = entry.index > max(self._applied_index.values(), default=0)
        self.commands_committed += is_first and entry.kind is EntryKind.COMMAND
        self._applied_index[node_id] = max(self._applied_index[node_id], entry.index)

    def restored(self, node_id: str, index: int, machine: bytes) -> None:
        """State Machine Safety: a snapshot is what a node would be that had applied the log."""
        _require(
            index <= self.committed_index, "state machine safety", f"snapshot of {index} is of uncommitted entries"
        )
        _require(
            self._committed[index][0] == machine, "state machine safety", f"{node_id} differs after snapshot {index}"
        )
        self._applied_index[node_id] = max(self._applied_index[node_id], index)
        self.snapshots_installed += 1

    def message_sent(self, message: Message, disk: SimulatedDisk) -> None:
        """One durable vote per term; no message of a term that the sender could forget."""
        term_promised = disk.hard_state.current_term
        match message.body:
            case RequestVoteRequest(term=term):
                candidate = message.sender
            case RequestVoteResponse(term=term, granted=True):
                candidate = message.recipient
            case _:
                return
        voted = self._votes.setdefault((message.sender, term), candidate)
        _require(
            voted == candidate, "one vote per term", f"{message.sender} voted for {voted} and {candidate} in {term}"
        )
        is_durable = term_promised > term or (term_promised == term and disk.hard_state.voted_for == candidate)
        _require(is_durable, "durable vote", f"{message.sender} says it voted in {term}, its disk: {disk.hard_state}")

    def read_requested(self, node_id: str, read_id: int) -> None:
        self._reads[node_id, read_id] = self.committed_index

    def read_confirmed(self, node_id: str, read_id: int, index: int) -> None:
        """Linearizable: a read sees everything that was committed anywhere when it was asked for."""
        committed_before = self._reads.pop((node_id, read_id))
        detail = f"{node_id} reads at {index}; {committed_before} was committed before"
        _require(index >= committed_before, "linearizable read", detail)
        self.reads_confirmed += 1
