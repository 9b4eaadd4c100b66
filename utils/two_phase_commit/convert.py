"""Between the messages of utils/pb/two_phase_commit.proto and the words of two-phase commit.

Every `..._from_proto` raises InvalidArgument for what is missing or out of its range.
"""

from collections.abc import Sequence

from utils.domain.money import AMOUNT_CENTS_MAX
from utils.domain.order import ITEMS_MAX, ORDER_ID, QUANTITY_MAX, TITLE_LENGTH_MAX, PricedItem
from utils.pb import order_pb2, two_phase_commit_pb2 as pb
from utils.pb.convert import (
    instrument_from_proto,
    instrument_to_proto,
    order_id_from_proto,
    packed_clock_from_proto,
    packed_clock_to_proto,
    packed_story_from_proto,
    priced_item_from_proto,
    priced_item_to_proto,
    reason_from_proto,
    reason_to_proto,
)
from utils.rpc.errors import InvalidArgument
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Compensation,
    Decision,
    Resolution,
    ResolutionKind,
    Transaction,
    Vote,
    VoteKind,
)

# What a signed 64-bit integer holds, and with it every disk that keeps one of these.
NUMBER_MAX = 2**63 - 1

_VOTES_TO_PROTO = {
    VoteKind.COMMIT: pb.Vote.KIND_COMMIT,
    VoteKind.ABORT: pb.Vote.KIND_ABORT,
    VoteKind.REFUSED: pb.Vote.KIND_REFUSED,
    VoteKind.BUSY: pb.Vote.KIND_BUSY,
    VoteKind.ALREADY_COMMITTED: pb.Vote.KIND_ALREADY_COMMITTED,
}
_VOTES_FROM_PROTO = {number: kind for kind, number in _VOTES_TO_PROTO.items()}
_RESOLUTIONS_TO_PROTO = {
    ResolutionKind.COMMITTED: pb.Resolution.KIND_COMMITTED,
    ResolutionKind.ABORTED: pb.Resolution.KIND_ABORTED,
    ResolutionKind.UNDECIDED: pb.Resolution.KIND_UNDECIDED,
}
_RESOLUTIONS_FROM_PROTO = {number: kind for kind, number in _RESOLUTIONS_TO_PROTO.items()}


def attempt_to_proto(attempt: Attempt) -> pb.Attempt:
    return pb.Attempt(order_id=attempt.order_id, epoch=attempt.epoch, number=attempt.number)


def attempt_from_proto(message: pb.Attempt) -> Attempt:
    if not ORDER_ID.fullmatch(message.order_id):
        raise InvalidArgument("attempt.order_id is not 32 lower-case hexadecimal digits")
    if not (1 <= message.epoch <= NUMBER_MAX and 1 <= message.number <= NUMBER_MAX):
        raise InvalidArgument(f"attempt.epoch and attempt.number are from 1 to {NUMBER_MAX}")
    return Attempt(message.order_id, message.epoch, message.number)


def position_from_proto(position: int) -> int:
    """An index of the queue's log; 0 where it is not said."""
    if position > NUMBER_MAX:
        raise InvalidArgument(f"a position is at most {NUMBER_MAX}")
    return position


def transaction_to_proto(transaction: Transaction) -> pb.Transaction:
    return pb.Transaction(
        attempt=attempt_to_proto(transaction.attempt),
        position=transaction.position,
        items=[priced_item_to_proto(item) for item in transaction.items],
        amount_cents=transaction.amount_cents,
        instrument=instrument_to_proto(transaction.instrument),
        clock=packed_clock_to_proto(transaction.clock),
    )


def transaction_from_proto(message: pb.Transaction) -> Transaction:
    return Transaction(
        attempt_from_proto(message.attempt),
        position_from_proto(message.position),
        _items_from_proto(message.items),
        _amount_cents_from_proto(message.amount_cents),
        instrument_from_proto(message.instrument),
        packed_clock_from_proto(message.clock),
    )


def _items_from_proto(messages: Sequence[order_pb2.PricedItem]) -> tuple[PricedItem, ...]:
    if not 1 <= len(messages) <= ITEMS_MAX:
        raise InvalidArgument(f"an order has from 1 to {ITEMS_MAX} items")
    for item in messages:
        if not 1 <= len(item.title) <= TITLE_LENGTH_MAX or not 1 <= item.quantity <= QUANTITY_MAX:
            raise InvalidArgument(
                f"an item has a title of 1 to {TITLE_LENGTH_MAX} characters and a quantity of 1 to {QUANTITY_MAX}"
            )
    return tuple(priced_item_from_proto(item) for item in messages)


def _amount_cents_from_proto(amount_cents: int) -> int:
    if amount_cents > AMOUNT_CENTS_MAX:
        raise InvalidArgument(f"amount_cents is at most {AMOUNT_CENTS_MAX}")
    return amount_cents


def vote_to_proto(vote: Vote) -> pb.Vote:
    return pb.Vote(
        attempt=attempt_to_proto(vote.attempt),
        kind=_VOTES_TO_PROTO[vote.kind],
        reasons=[reason_to_proto(reason) for reason in vote.reasons],
        other_attempt=attempt_to_proto(vote.other_attempt) if vote.other_attempt else None,
        clock=packed_clock_to_proto(vote.clock),
    )


def vote_from_proto(message: pb.Vote) -> Vote:
    kind = _VOTES_FROM_PROTO.get(message.kind)
    if kind is None:
        raise InvalidArgument(f"a vote of kind {message.kind} is not known")
    return Vote(
        attempt_from_proto(message.attempt),
        kind,
        tuple(reason_from_proto(reason) for reason in message.reasons),
        attempt_from_proto(message.other_attempt) if message.HasField("other_attempt") else None,
        packed_clock_from_proto(message.clock),
    )


def decision_to_proto(decision: Decision) -> pb.Decision:
    return pb.Decision(
        attempt=attempt_to_proto(decision.attempt),
        commit=decision.commit,
        position=decision.position,
        clock=packed_clock_to_proto(decision.clock),
    )


def decision_from_proto(message: pb.Decision) -> Decision:
    return Decision(
        attempt_from_proto(message.attempt),
        message.commit,
        position_from_proto(message.position),
        packed_clock_from_proto(message.clock),
    )


def acknowledgement_to_proto(acknowledgement: Acknowledgement) -> pb.Acknowledgement:
    return pb.Acknowledgement(
        attempt=attempt_to_proto(acknowledgement.attempt),
        done=acknowledgement.done,
        confirmation_code=acknowledgement.confirmation_code,
        finished=acknowledgement.finished,
        story=acknowledgement.story,
    )


def acknowledgement_from_proto(message: pb.Acknowledgement) -> Acknowledgement:
    return Acknowledgement(
        attempt_from_proto(message.attempt),
        message.done,
        message.confirmation_code,
        message.finished,
        packed_story_from_proto(message.story),
    )


def compensation_to_proto(compensation: Compensation) -> pb.CompensateRequest:
    return pb.CompensateRequest(
        order_id=compensation.order_id,
        position=compensation.position,
        items=[priced_item_to_proto(item) for item in compensation.items],
        amount_cents=compensation.amount_cents,
        clock=packed_clock_to_proto(compensation.clock),
    )


def compensation_from_proto(message: pb.CompensateRequest) -> Compensation:
    return Compensation(
        order_id_from_proto(message.order_id),
        position_from_proto(message.position),
        _items_from_proto(message.items),
        _amount_cents_from_proto(message.amount_cents),
        packed_clock_from_proto(message.clock),
    )


def compensated_to_proto(compensated: Compensated) -> pb.CompensateResponse:
    return pb.CompensateResponse(refund_code=compensated.refund_code, story=compensated.story)


def compensated_from_proto(message: pb.CompensateResponse) -> Compensated:
    return Compensated(message.refund_code, packed_story_from_proto(message.story))


def resolution_to_proto(resolution: Resolution) -> pb.Resolution:
    return pb.Resolution(
        attempt=attempt_to_proto(resolution.attempt),
        kind=_RESOLUTIONS_TO_PROTO[resolution.kind],
        clock=packed_clock_to_proto(resolution.clock),
    )


def resolution_from_proto(message: pb.Resolution) -> Resolution:
    kind = _RESOLUTIONS_FROM_PROTO.get(message.kind)
    if kind is None:
        raise InvalidArgument(f"a resolution of kind {message.kind} is not known")
    return Resolution(attempt_from_proto(message.attempt), kind, packed_clock_from_proto(message.clock))
