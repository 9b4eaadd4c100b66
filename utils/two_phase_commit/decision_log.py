"""The executors' replicated state: one decision for each order, and which of them are finished.

The first decision recorded for an order is its decision, for ever; a later proposal is answered with it. No record
means no commit (presumed abort). One entry of the Raft log carries many commands.
"""

from collections.abc import Sequence

import msgspec

from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.messages import Attempt, Resolution, ResolutionKind


class RecordDecision(msgspec.Struct, frozen=True, tag=True):
    decision: OrderDecision


class RecordFinished(msgspec.Struct, frozen=True, tag=True):
    """All participants have acknowledged the order's decision, and the queue has its result."""

    order_id: str


Command = RecordDecision | RecordFinished


class _Snapshot(msgspec.Struct, frozen=True):
    # In the order in which they were recorded.
    decisions: tuple[OrderDecision, ...]
    unfinished: tuple[str, ...]


_encoder = msgspec.msgpack.Encoder()
_command_decoder = msgspec.msgpack.Decoder(tuple[Command, ...])
_snapshot_decoder = msgspec.msgpack.Decoder(_Snapshot)


def encode(commands: Sequence[Command]) -> bytes:
    """One entry of the log."""
    return _encoder.encode(commands)


class DecisionLog:
    """A utils.raft StateMachine. Reading it is exact for what is decided, on any node, as far as it has applied."""

    def __init__(self) -> None:
        self._decisions: dict[str, OrderDecision] = {}
        # A set that keeps its order.
        self._unfinished: dict[str, None] = {}

    def decision(self, order_id: str) -> OrderDecision | None:
        return self._decisions.get(order_id)

    def unfinished(self) -> list[OrderDecision]:
        """What a new leader has to drive to its end, oldest first."""
        return [self._decisions[order_id] for order_id in self._unfinished]

    @property
    def finished_count(self) -> int:
        return len(self._decisions) - len(self._unfinished)

    def apply(self, index: int, command: bytes) -> list[OrderDecision | None]:
        """For each command: the order's decision. None: it is finished without one, which changes nothing."""
        return [self._apply(part) for part in _command_decoder.decode(command)]

    def snapshot(self) -> bytes:
        return _encoder.encode(_Snapshot(tuple(self._decisions.values()), tuple(self._unfinished)))

    def restore(self, snapshot: bytes) -> None:
        state = _snapshot_decoder.decode(snapshot)
        self._decisions = {decision.order_id: decision for decision in state.decisions}
        self._unfinished = dict.fromkeys(state.unfinished)

    def _apply(self, command: Command) -> OrderDecision | None:
        match command:
            case RecordDecision(decision):
                if decision.order_id not in self._decisions:
                    self._decisions[decision.order_id] = decision
                    self._unfinished[decision.order_id] = None
                return self._decisions[decision.order_id]
            case RecordFinished(order_id):
                self._unfinished.pop(order_id, None)
                return self._decisions.get(order_id)


def resolve(attempt: Attempt, *, epoch: int, log: DecisionLog, was_given_up: bool) -> Resolution:
    """What a leader of `epoch`, its own no-op applied, may tell a participant in doubt about `attempt`.

    Every answer but "undecided" is true for ever, so that a leader which is deposed while it answers does no harm: a
    COMMIT of an epoch below is proposed in that term only, and so stands before the leader's no-op or nowhere.
    `was_given_up`: this leader ended the attempt, one of its own epoch, before it proposed anything.
    """
    return Resolution(attempt, _resolution(attempt, epoch, log.decision(attempt.order_id), was_given_up))


def _resolution(attempt: Attempt, epoch: int, decision: OrderDecision | None, was_given_up: bool) -> ResolutionKind:
    if attempt.epoch > epoch:
        return ResolutionKind.UNDECIDED
    if decision is not None:
        is_it = decision.commit and decision.attempt == attempt
        return ResolutionKind.COMMITTED if is_it else ResolutionKind.ABORTED
    if attempt.epoch < epoch or was_given_up:
        return ResolutionKind.ABORTED
    return ResolutionKind.UNDECIDED
