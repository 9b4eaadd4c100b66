"""The replicated database: what every node does with each committed command. Pure and deterministic."""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from db_node.commands import (
    Command,
    Decide,
    DecrementStock,
    Prepare,
    RaiseEpoch,
    RecordDecisions,
    Refusal,
    RefusalReason,
    Restock,
    Restocked,
    Result,
    Seed,
    Write,
    WriteResult,
)
from db_node.keyspace import Entry, Keyspace, Stored
from db_node.remembered_requests import Answered, RememberedRequests
from utils.clocks.story import DATABASE, Story, tell, unpack_clock
from utils.domain.order_ids import OrderIds
from utils.formats import Format
from utils.two_phase_commit.fenced_log import NO_EPOCH, Epoch, FencedLog
from utils.two_phase_commit.messages import Attempt
from utils.two_phase_commit.participant import Participant, Phase, Record

COMMAND: Format[Command] = Format("a command of the database", Command, version=2)

Quantities = dict[str, int]


class _State(msgspec.Struct):
    """What a snapshot holds. Reservations follow from the records of prepared orders."""

    stored: dict[str, Stored]
    clients: dict[str, Answered]
    records: dict[str, Record[Quantities]]
    finished_below: int
    # Of executors that elect their leader by Bully.
    epoch: Epoch = NO_EPOCH
    decisions: bytes | None = None
    # Of any attempt, also of those that are forgotten.
    highest_epoch: int = 0
    # Orders whose copies an operator has put back.
    restocked: bytes = b""


SNAPSHOT: Format[_State] = Format("a snapshot of the database", _State, version=2)


def encode(command: Command) -> bytes:
    """The form in which a command is proposed."""
    return COMMAND.encode(command)


class DatabaseMachine:
    """The state machine of utils.raft; its reads may be called between two applies, from the same event loop."""

    def __init__(self) -> None:
        self._keyspace = Keyspace()
        self._requests = RememberedRequests()
        self._participant = Participant[Quantities](self._keyspace, host=DATABASE)
        self._executors = FencedLog()
        self._highest_epoch = 0
        # Kept for ever, since a compensation may be repeated at any time.
        self._restocked = OrderIds()

    def apply(self, index: int, command: bytes) -> Result:
        return self._apply(COMMAND.decode(command))

    def snapshot(self) -> bytes:
        return SNAPSHOT.encode(
            _State(
                self._keyspace.stored,
                self._requests.clients,
                self._participant.records,
                self._participant.finished_below,
                self._executors.epoch,
                self._executors.decisions.snapshot(),
                self._highest_epoch,
                self._restocked.dump(),
            )
        )

    def restore(self, snapshot: bytes) -> None:
        state = SNAPSHOT.decode(snapshot)
        self._requests.restore(state.clients)
        self._participant.restore(state.records, state.finished_below)
        self._executors.restore(state.epoch, state.decisions)
        remembered = (record.attempt.epoch for record in state.records.values())
        self._highest_epoch = max(state.highest_epoch, *remembered, 0)
        self._restocked = OrderIds(state.restocked)
        held = [record.work for record in state.records.values() if record.work is not None]
        self._keyspace.restore(state.stored, held)

    def get(self, key: str) -> Entry | None:
        """None for a key that was never written."""
        return self._keyspace.get(key)

    def scan(self, prefix: str, after_key: str, entries_max: int) -> tuple[list[Entry], bool]:
        """A page of the keys that begin with `prefix`, in their order; and whether there are more."""
        return self._keyspace.scan(prefix, after_key, entries_max)

    @property
    def keys_count(self) -> int:
        return len(self._keyspace.stored)

    @property
    def in_doubt(self) -> tuple[Attempt, ...]:
        """Attempts that have reserved copies, and whose decision is not known here."""
        return self._participant.in_doubt

    def story(self, order_id: str) -> Story:
        """What has happened to an order here, as far as it is remembered."""
        record = self._participant.records.get(order_id)
        return record.story if record else ()

    def reservation(self, order_id: str) -> Quantities:
        """Copies by title that the order holds now."""
        record = self._participant.records.get(order_id)
        return record.work or {} if record else {}

    @property
    def executors(self) -> FencedLog:
        """The epoch of the executors' leader and its decisions; to be read only."""
        return self._executors

    def _apply(self, command: Command) -> Result:
        match command:
            case Write() | DecrementStock():
                return self._write_once(command)
            case Seed(integers):
                self._keyspace.seed(integers)
                return None
            case Prepare(orders, finished_below):
                self._participant.finish_below(finished_below)
                self._participant.prune()
                self._see(order.attempt for order in orders)
                return tuple(
                    self._participant.prepare(order.attempt, order.position, order.quantities, order.clock)
                    for order in orders
                )
            case Decide(decisions):
                self._see(decision.attempt for decision in decisions)
                return tuple(self._participant.decide(decision) for decision in decisions)
            case Restock():
                return self._restock(command)
            case RaiseEpoch(expected_number, node_id, incarnation):
                # Executors that elected by Raft before have left their terms as epochs.
                return self._executors.raise_epoch(expected_number, node_id, incarnation, above=self._highest_epoch)
            case RecordDecisions(epoch, commands):
                return self._executors.record(epoch, commands)
        assert_never(command)

    def _restock(self, command: Restock) -> Restocked | Refusal:
        order_id = command.order_id
        if order_id not in self._restocked:
            if not self._is_committed(order_id, command.position):
                return Refusal(RefusalReason.NOT_COMMITTED, f"no copy was sold to order {order_id}")
            if (refusal := self._keyspace.restock(command.quantities)) is not None:
                return refusal
            self._restocked.add(order_id)
        return Restocked(tell((), DATABASE, "restocked", unpack_clock(command.clock)))

    def _is_committed(self, order_id: str, position: int) -> bool:
        """As far as it is remembered: of a finished order that is forgotten, whoever asks knows it."""
        record = self._participant.records.get(order_id)
        if record is None:
            return 0 < position < self._participant.finished_below
        return record.phase is Phase.COMMITTED

    def _see(self, attempts: Iterable[Attempt]) -> None:
        """Of all attempts, not only of those that leave a record: a node that was restored must know no other epoch."""
        self._highest_epoch = max([self._highest_epoch, *(attempt.epoch for attempt in attempts)])

    def _write_once(self, command: Write | DecrementStock) -> WriteResult:
        if (answered := self._requests.recall(command.request_id)) is not None:
            return answered
        if isinstance(command, Write):
            result: WriteResult = self._keyspace.write(command.key, command.value, command.expected_version)
        else:
            result = self._keyspace.decrement(command.title, command.quantity)
        self._requests.remember(command.request_id, result)
        return result
