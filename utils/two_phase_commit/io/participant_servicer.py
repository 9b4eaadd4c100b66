"""ParticipantService, the same for every participant: the wire on one side, the words of two-phase commit on the other.

Errors: InvalidArgument for a malformed request; whatever the participant raises, for example NotLeader.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.pb import two_phase_commit_pb2 as pb, two_phase_commit_pb2_grpc
from utils.rpc.errors import Internal, InvalidArgument
from utils.two_phase_commit.convert import (
    acknowledgement_to_proto,
    compensated_to_proto,
    compensation_from_proto,
    decision_from_proto,
    position_from_proto,
    transaction_from_proto,
    vote_to_proto,
)
from utils.two_phase_commit.messages import Acknowledgement, Compensated, Compensation, Decision, Transaction, Vote

log = get_logger()

# Of one call: keeps an entry of the log and a message far below their limits.
BATCH_MAX = 1_024


class DurableParticipant(Protocol):
    """Returns only what is durable: one answer per question, in the same order."""

    async def prepare(
        self, transactions: Sequence[Transaction], finished_below: int, *, timeout_s: float
    ) -> Sequence[Vote]: ...

    async def decide(self, decisions: Sequence[Decision], *, timeout_s: float) -> Sequence[Acknowledgement]: ...

    async def compensate(self, compensation: Compensation, *, timeout_s: float) -> Compensated:
        """Undoes the order's commit, once. Raises FailedPrecondition: nothing was changed."""


class ParticipantServicer(two_phase_commit_pb2_grpc.ParticipantServiceServicer):
    def __init__(self, participant: DurableParticipant) -> None:
        self._participant = participant

    async def Prepare(self, request: pb.PrepareRequest, context: Any) -> pb.PrepareResponse:
        _limit(len(request.transactions))
        transactions = [transaction_from_proto(message) for message in request.transactions]
        finished_below = position_from_proto(request.finished_below)
        votes = await self._participant.prepare(transactions, finished_below, timeout_s=context.time_remaining())
        for vote in votes:
            count(f"participant.votes.{vote.kind}")
            log.info(
                "answered a prepare",
                order_id=vote.attempt.order_id,
                epoch=vote.attempt.epoch,
                attempt=vote.attempt.number,
                vote=str(vote.kind),
                reasons=[reason.code for reason in vote.reasons],
            )
        return pb.PrepareResponse(votes=[vote_to_proto(vote) for vote in votes])

    async def Decide(self, request: pb.DecideRequest, context: Any) -> pb.DecideResponse:
        _limit(len(request.decisions))
        decisions = [decision_from_proto(message) for message in request.decisions]
        acknowledgements = await self._participant.decide(decisions, timeout_s=context.time_remaining())
        log_outcomes(decisions, acknowledgements)
        return pb.DecideResponse(acknowledgements=[acknowledgement_to_proto(item) for item in acknowledgements])

    async def Compensate(self, request: pb.CompensateRequest, context: Any) -> pb.CompensateResponse:
        compensation = compensation_from_proto(request)
        compensated = await self._participant.compensate(compensation, timeout_s=context.time_remaining())
        log.info("compensated", order_id=compensation.order_id, refund_code=compensated.refund_code)
        return compensated_to_proto(compensated)


def log_outcomes(decisions: Sequence[Decision], acknowledgements: Sequence[Acknowledgement]) -> None:
    """Says what became of each decision; one that contradicts what this participant knows is an alarm."""
    if len(decisions) != len(acknowledgements):
        raise Internal("the participant did not answer each decision")
    for decision, acknowledgement in zip(decisions, acknowledgements, strict=True):
        attempt = decision.attempt
        fields = {
            "order_id": attempt.order_id,
            "epoch": attempt.epoch,
            "attempt": attempt.number,
            "commit": decision.commit,
        }
        if acknowledgement.done:
            log.info("carried out a decision", **fields)
        else:
            count("participant.alarms")
            log.error("a decision contradicts what this participant knows", **fields)


def _limit(questions: int) -> None:
    if not 1 <= questions <= BATCH_MAX:
        raise InvalidArgument(f"a call holds from 1 to {BATCH_MAX} orders, not {questions}")
