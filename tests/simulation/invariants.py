"""What must hold after every step, whatever was lost, late, doubled, cut or switched off (paper, figure 3).

Besides the promises of Raft, those of the runtime: what a disk took it keeps, and what callers are told is true.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from tests.simulation.chain import EMPTY, HashChain
from tests.simulation.machines import Applied, SimulatedMachine, decode
from utils.raft.core.core import RaftCore
from utils.raft.core.messages import Entry, EntryKind, Message, RequestVoteRequest, RequestVoteResponse
from utils.raft.core.ready import HardState, Role

# The whole state is compared at every so many indexes, and the digest of what was done at each.
_STATE_EVERY = 64


class InvariantViolated(AssertionError):
    """A promise was broken."""


def require(holds: bool, promise: str, detail: object) -> None:
    if not holds:
        raise InvariantViolated(f"{promise}: {detail}")


class Invariants:
    """Watches all nodes from outside and for ever: it sees what each has forgotten."""

    def __init__(self, durable_logs: Callable[[], Mapping[str, Iterable[HashChain]]]) -> None:
        """`durable_logs()`: by node id."""
        self._durable_logs = durable_logs
        self._leaders: dict[int, str] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._prefixes: dict[tuple[int, int], int] = {}
        # By index: the hash of the log up to there, and the term in which that was first known to be committed.
        self._committed: list[tuple[int, int]] = [(EMPTY, 0)]
        self._index_of_command: dict[int, int] = {}
        self._never: set[int] = set()
        self._digests: dict[int, bytes] = {0: bytes(8)}
        self._states: dict[int, bytes] = {}
        self.outcomes: Counter[str] = Counter()

    @property
    def committed_index(self) -> int:
        return len(self._committed) - 1

    @property
    def commands_committed(self) -> int:
        return len(self._index_of_command)

    @property
    def elections(self) -> int:
        return len(self._leaders)

    def prefix(self, index: int) -> int:
        """The hash of the committed log up to there."""
        require(index <= self.committed_index, "state machine safety", f"{index} is covered, but not committed")
        return self._committed[index][0]

    # The logs

    def entries_taken(self, log: HashChain, entries: Iterable[Entry]) -> None:
        """Log Matching: the same index and term, the same log up to there."""
        for entry in entries:
            prefix = log.at(entry.index)
            assert prefix is not None
            known = self._prefixes.setdefault((entry.index, entry.term), prefix)
            require(known == prefix, "log matching", f"two logs differ at or before {entry.index} of term {entry.term}")

    def elected(self, node_id: str, term: int, log: HashChain, voters: Collection[str]) -> None:
        """Election Safety and Leader Completeness; a leader has the votes of its own term."""
        leader = self._leaders.setdefault(term, node_id)
        require(leader == node_id, "election safety", f"{leader} and {node_id} both lead in term {term}")
        votes = sum(self._votes.get((voter, term)) == node_id for voter in voters)
        require(votes > len(voters) // 2, "election by majority", f"{node_id} has {votes} votes in term {term}")
        for index in range(self.committed_index, 0, -1):
            prefix, committed_in_term = self._committed[index]
            if committed_in_term < term:
                detail = f"{node_id} leads in term {term} without entry {index}, committed in term {committed_in_term}"
                require(log.holds(index, prefix), "leader completeness", detail)
                return

    def committed(self, log: HashChain, previous_index: int, voters_before: Collection[str], core: RaftCore) -> None:
        """Commit indexes grow, agree, and stand for what a majority of the disks holds.

        `voters_before`: when this node was looked at before. In one round it may first count an answer, by these, and
        then append a change of them.
        """
        index = core.commit_index
        require(index >= previous_index, "commit never regresses", f"{previous_index} to {index}")
        if core.role is Role.LEADER and index > self.committed_index:
            term = core._state.log.term_at(index)
            detail = f"{index} is of term {term}, not {core.current_term}"
            require(term == core.current_term, "commit by counting only in the own term", detail)
        # What lies before a snapshot that was installed was compared with it.
        for position in range(max(previous_index + 1, log.base_index), index + 1):
            prefix = log.at(position)
            assert prefix is not None
            if position <= self.committed_index:
                same = self._committed[position][0] == prefix
                require(same, "state machine safety", f"two entries committed at {position}")
                continue
            holding = {
                voter
                for voter, logs in self._durable_logs().items()
                if any(log.holds(position, prefix) for log in logs)
            }
            is_held = any(
                len(holding & set(voters)) > len(voters) // 2 for voters in (core.configuration.voters, voters_before)
            )
            require(is_held, "durable commit", f"{position} is on the disks of {sorted(holding)} only")
            self._committed.append((prefix, core.current_term))
            [entry] = core._state.log.entries_between(position, position)
            self._note_commit(entry)

    def message_sent(self, message: Message, durable: HardState) -> None:
        """One durable vote per term; no message of a term that the sender could forget."""
        match message.body:
            case RequestVoteRequest(term=term):
                candidate = message.sender
            case RequestVoteResponse(term=term, granted=True):
                candidate = message.recipient
            case _:
                return
        voted = self._votes.setdefault((message.sender, term), candidate)
        detail = f"{message.sender} voted for {voted} and {candidate} in {term}"
        require(voted == candidate, "one vote per term", detail)
        is_durable = durable.current_term > term or (durable.current_term == term and durable.voted_for == candidate)
        require(is_durable, "durable vote", f"{message.sender} says it voted in {term}, its disk: {durable}")

    # The state machines

    def applied(self, node_id: str, index: int, machine: SimulatedMachine) -> None:
        """State Machine Safety: by the hash of everything applied so far, and of the whole state now and then."""
        if index == 0:
            known = machine.digest in self._digests.values()
            require(known, "state machine safety", f"{node_id} got a snapshot of a state that nobody was in")
            return
        require(index <= self.committed_index, "state machine safety", f"{index} applied uncommitted")
        known_digest = self._digests.setdefault(index, machine.digest)
        require(known_digest == machine.digest, "state machine safety", f"{node_id} differs at {index}")
        if index % _STATE_EVERY == 0:
            self.compare_state(node_id, index, machine)

    def compare_state(self, node_id: str, index: int, machine: SimulatedMachine) -> None:
        state = machine.state
        require(self._states.setdefault(index, state) == state, "state machine safety", f"{node_id}'s state at {index}")

    # What callers are told

    def told_result(self, number: int, result: Applied, committed_before: int) -> None:
        """Committed exactly once, there, after everything that was committed when it was proposed."""
        index = self._index_of_command.get(number)
        detail = f"command {number} is at {index}, its caller was told {result.index}"
        require(index == result.index, "a result is true", detail)
        require(self._digests[result.index] == result.digest, "a result is true", f"of command {number}")
        require(result.index > committed_before, "linearizable write", f"command {number}")
        self.outcomes["result"] += 1

    def told_never(self, number: int, outcome: str) -> None:
        """It is not, and never will be, applied."""
        detail = f"command {number} was {outcome}, and is committed"
        require(number not in self._index_of_command, "dropped means never applied", detail)
        self._never.add(number)
        self.outcomes[outcome] += 1

    def read_done(self, node_id: str, last_applied: int, committed_before: int) -> None:
        """Linearizable: a read sees everything that was committed anywhere when it was asked for."""
        detail = f"{node_id} reads at {last_applied}; {committed_before} was committed before"
        require(last_applied >= committed_before, "linearizable read", detail)
        self.outcomes["read"] += 1

    def _note_commit(self, entry: Entry) -> None:
        if entry.kind is not EntryKind.COMMAND:
            return
        number = decode(entry.data).number
        require(number not in self._never, "dropped means never applied", f"command {number} is committed")
        again = f"command {number} at {self._index_of_command.get(number)} and {entry.index}"
        require(number not in self._index_of_command, "committed once", again)
        self._index_of_command[number] = entry.index
