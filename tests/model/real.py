"""The project's own coordinator, participants and decision log as nodes of the model's world.

A node's state is what the real object consists of (or its snapshot), taken out after each step and put back before the
next, so every step of the exploration runs the real code, restored from the state that was reached.
"""

from collections.abc import Hashable
from typing import Any

import msgspec

from db_node.commands import Decide, OrderedCopies, Prepare, Seed
from db_node.database_machine import DatabaseMachine, encode
from payment.ledger import Ledger, LedgerEntry, Luck, PaymentState
from tests.model.participant import Resource, code_of
from tests.model.parts import ParticipantPart, Parts
from tests.model.words import (
    DATABASE,
    NOTHING,
    PARTICIPANTS,
    PAYMENT,
    Acknowledged,
    Completed,
    Finished,
    LostDisk,
    PowerCut,
    Recorded,
    Silence,
    Standing,
    ToCoordinator,
    ToParticipant,
    Voted,
)
from utils.db_client.keys import stock_key
from utils.domain.order import PaymentInstrument, PaymentMethod, PricedItem, Reason
from utils.two_phase_commit.actions import Action, OrderDecision, SendDecision, SendPrepare, TryAgain
from utils.two_phase_commit.coordinator import PREPARE_TRIES_MAX, Coordinator
from utils.two_phase_commit.decision_log import (
    DecisionLog,
    RecordDecision,
    RecordFinished,
    encode as encode_log,
    resolve,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, ResolutionKind, Transaction, Vote
from utils.two_phase_commit.participant import Record

TITLE = "The Last Copy"
_CARD = PaymentInstrument(PaymentMethod.CARD, "visa", "1111")
_TRANSFER = PaymentInstrument(PaymentMethod.BANK_TRANSFER, "bank", "1111")
# Who pays by card is authorised, who pays by transfer is declined.
_LUCK = Luck("model", 1.0, 0.0)


class RealCoordinator:
    """`utils.two_phase_commit.coordinator.Coordinator`. A state is all its attributes."""

    def start(
        self, order_id: str, position: int, epoch: int, known: OrderDecision | None
    ) -> tuple[Hashable, list[Action]]:
        coordinator = Coordinator(
            order_id, position, epoch=epoch, participants=PARTICIPANTS, recorded_decision=lambda _: known
        )
        return self._taken_out(coordinator, coordinator.start())

    def step(self, state: Any, known: OrderDecision | None, message: ToCoordinator) -> tuple[Hashable, list[Action]]:
        coordinator = _put_back(state, known)
        actions: list[Action] = []
        match message:
            case Voted(participant, vote):
                actions = coordinator.voted(participant, vote)
            case Silence(attempt):
                for participant in PARTICIPANTS:
                    actions += coordinator.failed(SendPrepare(participant, attempt, PREPARE_TRIES_MAX - 1))
            case TryAgain(attempt):
                actions = coordinator.try_again(attempt)
            case Recorded(_, decision):
                actions = coordinator.recorded(decision)
            case Acknowledged(participant, decision, acknowledgement):
                actions = coordinator.acknowledged(SendDecision(participant, decision), acknowledgement)
            case Completed():
                actions = coordinator.completed()
            case Finished():
                actions = coordinator.finished()
        return self._taken_out(coordinator, actions)

    def has_given_up(self, state: Any, attempt: Attempt) -> bool:
        return _put_back(state, None).has_given_up(attempt)

    def is_finished(self, state: Any) -> bool:
        return _put_back(state, None).is_finished

    def _taken_out(self, coordinator: Coordinator, actions: list[Action]) -> tuple[Hashable, list[Action]]:
        attributes = vars(coordinator).items()
        return tuple((name, _frozen(value)) for name, value in attributes if name != "_recorded_decision"), actions


class RealDatabase:
    """`db_node.database_machine.DatabaseMachine`, one copy to an order. A state is its snapshot."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def initial(self) -> bytes:
        machine = DatabaseMachine()
        machine.apply(1, encode(Seed({stock_key(TITLE): self._resource.copies})))
        return machine.snapshot()

    def step(self, state: bytes, message: ToParticipant) -> tuple[bytes, Vote | Acknowledgement | None]:
        machine = DatabaseMachine()
        machine.restore(state)
        command: Prepare | Decide
        match message:
            case LostDisk():
                return self.initial(), None
            case PowerCut():
                return machine.snapshot(), None
            case SendPrepare(_, attempt):
                position = self._resource.order_ids.index(attempt.order_id) + 1
                command = Prepare((OrderedCopies(attempt, position, {TITLE: 1}),), 0)
            case SendDecision(_, decision):
                command = Decide((decision,))
        answers = machine.apply(2, encode(command))
        assert isinstance(answers, tuple)
        answer = answers[0]
        assert isinstance(answer, Vote | Acknowledgement)
        return machine.snapshot(), _plain_answer(answer)

    def standings(self, state: bytes) -> tuple[Standing, ...]:
        machine = DatabaseMachine()
        machine.restore(state)
        entry = machine.get(stock_key(TITLE))
        assert entry is not None
        assert isinstance(entry.value, int)
        records = machine._participant.records
        standings = tuple(
            _standing(
                records.get(order_id),
                held=machine.reservation(order_id).get(TITLE, 0),
                done=(record := records.get(order_id)) is not None and record.phase == "committed",
            )
            for order_id in self._resource.order_ids
        )
        # The orders' own records say what the stock says.
        assert entry.reserved == sum(standing.held for standing in standings)
        assert entry.value == self._resource.copies - sum(standing.done for standing in standings)
        return standings


class RealPayment:
    """`payment.ledger.Ledger`. A state is what its journal holds."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def initial(self) -> tuple[bytes, ...]:
        return ()

    def step(
        self, state: tuple[bytes, ...], message: ToParticipant
    ) -> tuple[tuple[bytes, ...], Vote | Acknowledgement | None]:
        if isinstance(message, LostDisk):
            return (), None
        journal = {entry.record.attempt.order_id: entry for entry in _entries(state)}
        ledger = Ledger(_LUCK)
        ledger.restore(journal.values(), 0)
        answer: Vote | Acknowledgement | None = None
        match message:
            case SendPrepare(_, attempt):
                position = self._resource.order_ids.index(attempt.order_id) + 1
                instrument = _TRANSFER if attempt.order_id in self._resource.declined else _CARD
                items = (PricedItem(TITLE, 1, 1_250),)
                answer = ledger.prepare(Transaction(attempt, position, items, 1_250, instrument))
            case SendDecision(_, decision):
                answer = ledger.decide(decision)
        journal |= {entry.record.attempt.order_id: entry for entry in ledger.take_changes()}
        written = tuple(msgspec.msgpack.encode(journal[order_id]) for order_id in sorted(journal))
        return written, None if answer is None else _plain_answer(answer)

    def standings(self, state: tuple[bytes, ...]) -> tuple[Standing, ...]:
        journal = {entry.record.attempt.order_id: entry for entry in _entries(state)}
        standings: list[Standing] = []
        for order_id in self._resource.order_ids:
            entry = journal.get(order_id)
            payment = entry.payment.state if entry is not None and entry.payment is not None else None
            standings.append(
                _standing(
                    entry.record if entry is not None else None,
                    held=payment is PaymentState.AUTHORISED,
                    done=payment is PaymentState.CAPTURED,
                )
            )
        return tuple(standings)


class RealLog:
    """`utils.two_phase_commit.decision_log`. A state is the machine's snapshot."""

    def initial(self) -> bytes:
        return DecisionLog().snapshot()

    def decision(self, state: bytes, order_id: str) -> OrderDecision | None:
        return _log(state).decision(order_id)

    def is_finished(self, state: bytes, order_id: str) -> bool:
        log = _log(state)
        unfinished = {decision.order_id for decision in log.unfinished()}
        return log.decision(order_id) is not None and order_id not in unfinished

    def record(self, state: bytes, decision: OrderDecision) -> tuple[bytes, OrderDecision | None]:
        log = _log(state)
        (answer,) = log.apply(1, encode_log((RecordDecision(decision),)))
        return log.snapshot(), answer

    def finish(self, state: bytes, order_id: str) -> bytes:
        log = _log(state)
        log.apply(1, encode_log((RecordFinished(order_id),)))
        return log.snapshot()

    def resolve(self, state: bytes, attempt: Attempt, epoch: int, *, was_given_up: bool) -> ResolutionKind:
        return resolve(attempt, epoch=epoch, log=_log(state), was_given_up=was_given_up).kind


def real_parts(database: Resource, payment: Resource) -> Parts:
    participants: dict[str, ParticipantPart] = {DATABASE: RealDatabase(database), PAYMENT: RealPayment(payment)}
    return Parts(RealCoordinator(), participants, RealLog())


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return dict, tuple(sorted(value.items()))
    if isinstance(value, set):
        return set, frozenset(value)
    hash(value)
    return None, value


def _put_back(state: Any, known: OrderDecision | None) -> Coordinator:
    coordinator = Coordinator.__new__(Coordinator)
    for name, (kind, value) in state:
        setattr(coordinator, name, value if kind is None else kind(value))
    coordinator._recorded_decision = lambda _: known
    return coordinator


def _standing(record: Record[Any] | None, *, held: int, done: int) -> Standing:
    return NOTHING if record is None else Standing(record.attempt, str(record.phase), int(held), int(done))


def _entries(state: tuple[bytes, ...]) -> list[LedgerEntry]:
    return [msgspec.msgpack.decode(entry, type=LedgerEntry) for entry in state]


def _log(state: bytes) -> DecisionLog:
    log = DecisionLog()
    log.restore(state)
    return log


def _plain_answer(answer: Vote | Acknowledgement) -> Vote | Acknowledgement:
    """Without texts for people, and with a confirmation code that says whose it is."""
    if isinstance(answer, Vote):
        reasons = tuple(Reason(reason.code, "") for reason in answer.reasons)
        return msgspec.structs.replace(answer, reasons=reasons)
    if not answer.confirmation_code:
        return answer
    assert answer.confirmation_code == _LUCK.confirmation_code(answer.attempt)
    return msgspec.structs.replace(answer, confirmation_code=code_of(answer.attempt))
