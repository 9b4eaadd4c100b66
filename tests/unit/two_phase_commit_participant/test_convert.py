"""Every word of two-phase commit survives the wire, and what is malformed is refused there."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.two_phase_commit_participant.words import attempt, compensation, order_id, transaction
from utils.domain.money import AMOUNT_CENTS_MAX
from utils.domain.order import ITEMS_MAX, QUANTITY_MAX, TITLE_LENGTH_MAX, Reason
from utils.pb import two_phase_commit_pb2 as pb
from utils.rpc.errors import InvalidArgument
from utils.two_phase_commit import convert
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Decision,
    Resolution,
    ResolutionKind,
    Vote,
    VoteKind,
)

WORDS: list[tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = [
    (attempt(3, epoch=2), convert.attempt_to_proto, convert.attempt_from_proto),
    (
        transaction(attempt(), ("Book A", 2), ("Book B", 1)),
        convert.transaction_to_proto,
        convert.transaction_from_proto,
    ),
    *(
        (Vote(attempt(), kind, other_attempt=attempt(2)), convert.vote_to_proto, convert.vote_from_proto)
        for kind in VoteKind
    ),
    (
        Vote(attempt(), VoteKind.ABORT, (Reason("out_of_stock", "Sold out.", "/items/0"),)),
        convert.vote_to_proto,
        convert.vote_from_proto,
    ),
    (Decision(attempt(), commit=True), convert.decision_to_proto, convert.decision_from_proto),
    (Decision(attempt(), commit=False), convert.decision_to_proto, convert.decision_from_proto),
    (
        Acknowledgement(attempt(), done=True, confirmation_code="PAY-1"),
        convert.acknowledgement_to_proto,
        convert.acknowledgement_from_proto,
    ),
    (
        compensation(("Book A", 2), ("Book B", 1)),
        convert.compensation_to_proto,
        convert.compensation_from_proto,
    ),
    (Compensated("REF-1"), convert.compensated_to_proto, convert.compensated_from_proto),
    *(
        (Resolution(attempt(), kind), convert.resolution_to_proto, convert.resolution_from_proto)
        for kind in ResolutionKind
    ),
]


@pytest.mark.parametrize(("word", "to_proto", "from_proto"), WORDS)
def test_a_word_comes_back_as_it_was(
    word: Any, to_proto: Callable[[Any], Any], from_proto: Callable[[Any], Any]
) -> None:
    message = to_proto(word)
    assert from_proto(type(message).FromString(message.SerializeToString())) == word


@pytest.mark.parametrize(
    "malformed",
    [
        pb.Attempt(epoch=1, number=1),
        pb.Attempt(order_id="ABC", epoch=1, number=1),
        pb.Attempt(order_id=order_id(1), number=1),
        pb.Attempt(order_id=order_id(1), epoch=1),
        pb.Attempt(order_id=order_id(1), epoch=2**63, number=1),
        pb.Attempt(order_id=order_id(1), epoch=1, number=2**64 - 1),
    ],
)
def test_a_malformed_attempt_is_refused(malformed: pb.Attempt) -> None:
    with pytest.raises(InvalidArgument):
        convert.attempt_from_proto(malformed)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message.ClearField("attempt"),
        lambda message: message.ClearField("items"),
        lambda message: message.items.extend([message.items[0]] * ITEMS_MAX),
        lambda message: message.ClearField("instrument"),
        lambda message: setattr(message.instrument, "method", 99),
        lambda message: setattr(message, "amount_cents", AMOUNT_CENTS_MAX + 1),
        lambda message: setattr(message, "position", 2**63),
        lambda message: setattr(message.items[0], "quantity", 0),
        lambda message: setattr(message.items[0], "quantity", QUANTITY_MAX + 1),
        lambda message: setattr(message.items[0], "title", ""),
        lambda message: setattr(message.items[0], "title", "x" * (TITLE_LENGTH_MAX + 1)),
    ],
)
def test_a_malformed_transaction_is_refused(spoil: Callable[[pb.Transaction], None]) -> None:
    message = convert.transaction_to_proto(transaction(attempt()))
    assert convert.transaction_from_proto(message) == transaction(attempt())
    spoil(message)
    with pytest.raises(InvalidArgument):
        convert.transaction_from_proto(message)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message.ClearField("order_id"),
        lambda message: message.ClearField("items"),
        lambda message: setattr(message.items[0], "quantity", 0),
        lambda message: setattr(message, "amount_cents", AMOUNT_CENTS_MAX + 1),
        lambda message: setattr(message, "position", 2**63),
    ],
)
def test_a_malformed_compensation_is_refused(spoil: Callable[[pb.CompensateRequest], None]) -> None:
    message = convert.compensation_to_proto(compensation())
    assert convert.compensation_from_proto(message) == compensation()
    spoil(message)
    with pytest.raises(InvalidArgument):
        convert.compensation_from_proto(message)


def test_a_decision_at_no_position_of_any_log_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        convert.decision_from_proto(pb.Decision(attempt=convert.attempt_to_proto(attempt()), position=2**63))


def test_an_unspecified_vote_or_resolution_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        convert.vote_from_proto(pb.Vote(attempt=convert.attempt_to_proto(attempt())))
    with pytest.raises(InvalidArgument):
        convert.resolution_from_proto(pb.Resolution(attempt=convert.attempt_to_proto(attempt())))


def test_attempts_compare_by_epoch_first() -> None:
    assert attempt(9, epoch=1) < attempt(1, epoch=2) < attempt(2, epoch=2)
    assert Attempt(order_id(1), 10, 1) > Attempt(order_id(1), 9, 1)
