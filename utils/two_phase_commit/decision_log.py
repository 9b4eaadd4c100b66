"""The executors' replicated state: one decision for each order, and which of them are finished.

The first decision recorded for an order is its decision, for ever; a later proposal is answered with it. No record
means no commit (presumed abort). One entry of a Raft log carries many commands.

For ever takes bounded memory: once the queue says that all orders below a position of its log have ended, and all that
were decided there are finished, their decisions are forgotten, and only the position is kept. Such an order can be
neither decided again nor handed out, and participants refuse it.
"""

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from utils.clocks.story import last_clock, pack_clock
from utils.formats import Format
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.messages import Attempt, Resolution, ResolutionKind
from utils.two_phase_commit.positions import Positions


class RecordDecision(msgspec.Struct, frozen=True, tag=True):
    decision: OrderDecision


class RecordFinished(msgspec.Struct, frozen=True, tag=True):
    """All participants have acknowledged the order's decision, and the queue has its result."""

    order_id: str


class PublishFinished(msgspec.Struct, frozen=True, tag=True):
    """The queue says that every order below this position of its log has ended."""

    ended_below: int


Command = RecordDecision | RecordFinished | PublishFinished


class _Snapshot(msgspec.Struct, frozen=True):
    # In the order in which they were recorded.
    decisions: tuple[OrderDecision, ...]
    unfinished: tuple[str, ...]
    finished_below: int = 0
    forgotten: int = 0


COMMANDS: Format[Sequence[Command]] = Format("commands of the decision log", tuple[Command, ...], version=2)
SNAPSHOT: Format[_Snapshot] = Format("a snapshot of the decision log", _Snapshot, version=2)


def encode(commands: Sequence[Command]) -> bytes:
    """One entry of the log."""
    return COMMANDS.encode(commands)


class DecisionLog:
    """A utils.raft StateMachine. Reading it is exact for what is decided, on any node, as far as it has applied."""

    def __init__(self) -> None:
        self._decisions: dict[str, OrderDecision] = {}
        # A set that keeps its order.
        self._unfinished: dict[str, None] = {}
        self._positions = Positions()
        self._forgotten = 0
        # Every order below this position of the queue's log is finished.
        self.finished_below = 0

    def decision(self, order_id: str) -> OrderDecision | None:
        return self._decisions.get(order_id)

    def unfinished(self) -> list[OrderDecision]:
        """What a new leader has to drive to its end, oldest first."""
        return [self._decisions[order_id] for order_id in self._unfinished]

    def all_finished_below(self, ended_below: int) -> int:
        """What PublishFinished would make of `finished_below` now."""
        lowest = min((self._decisions[order_id].position for order_id in self._unfinished), default=ended_below)
        return max(self.finished_below, min(ended_below, lowest))

    @property
    def finished_count(self) -> int:
        return self._forgotten + len(self._decisions) - len(self._unfinished)

    def apply(self, index: int, command: bytes) -> list[OrderDecision | None]:
        """What `record` returns, for each command."""
        return [self.record(part) for part in COMMANDS.decode(command)]

    def record(self, command: Command) -> OrderDecision | None:
        """The order's decision. None: to PublishFinished, and for an order that is finished and forgotten: nothing
        changes that any more.
        """
        match command:
            case RecordDecision(decision):
                if decision.order_id not in self._decisions and decision.position >= self.finished_below:
                    self._decisions[decision.order_id] = decision
                    self._unfinished[decision.order_id] = None
                    self._positions.add(decision.position, decision.order_id)
                return self._decisions.get(decision.order_id)
            case RecordFinished(order_id):
                self._unfinished.pop(order_id, None)
                return self._decisions.get(order_id)
            case PublishFinished(ended_below):
                self.finished_below = self.all_finished_below(ended_below)
                for order_id in self._positions.take_below(self.finished_below):
                    del self._decisions[order_id]
                    self._forgotten += 1
                return None

    def page(self, after: int, decisions_max: int) -> list[OrderDecision]:
        """Those that are remembered, in the order in which they were recorded, without the first `after`."""
        return list(itertools.islice(self._decisions.values(), after, after + decisions_max))

    @property
    def remembered_count(self) -> int:
        return len(self._decisions)

    @property
    def forgotten_count(self) -> int:
        return self._forgotten

    def replace(
        self, decisions: Sequence[OrderDecision], unfinished: Iterable[str], finished_below: int, forgotten_count: int
    ) -> None:
        """Takes over the whole state of another log; `unfinished` are order ids."""
        self._decisions = {decision.order_id: decision for decision in decisions}
        self._unfinished = dict.fromkeys(unfinished)
        self._positions = Positions((decision.position, decision.order_id) for decision in decisions)
        self.finished_below = finished_below
        self._forgotten = forgotten_count

    def snapshot(self) -> bytes:
        decisions, unfinished = tuple(self._decisions.values()), tuple(self._unfinished)
        return SNAPSHOT.encode(_Snapshot(decisions, unfinished, self.finished_below, self._forgotten))

    def restore(self, snapshot: bytes) -> None:
        state = SNAPSHOT.decode(snapshot)
        self.replace(state.decisions, state.unfinished, state.finished_below, state.forgotten)


def resolve(attempt: Attempt, *, epoch: int, log: DecisionLog, was_given_up: bool) -> Resolution:
    """What a leader of `epoch`, its own no-op applied, may tell a participant in doubt about `attempt`.

    Every answer but "undecided" is true for ever, so that a leader which is deposed while it answers does no harm: a
    COMMIT of an epoch below is proposed in that term only, and so stands before the leader's no-op or nowhere.
    `was_given_up`: this leader ended the attempt, one of its own epoch, before it proposed anything. Nobody is in doubt
    about an order that is finished: every participant has acknowledged its decision.
    """
    decision = log.decision(attempt.order_id)
    clock = pack_clock(last_clock(decision.story)) if decision is not None else b""
    return Resolution(attempt, _resolution(attempt, epoch, decision, was_given_up), clock)


def _resolution(attempt: Attempt, epoch: int, decision: OrderDecision | None, was_given_up: bool) -> ResolutionKind:
    if attempt.epoch > epoch:
        return ResolutionKind.UNDECIDED
    if decision is not None:
        is_it = decision.commit and decision.attempt == attempt
        return ResolutionKind.COMMITTED if is_it else ResolutionKind.ABORTED
    if attempt.epoch < epoch or was_given_up:
        return ResolutionKind.ABORTED
    return ResolutionKind.UNDECIDED
