"""FraudDetectionService: the wire on one side, the detector and the causal protocol on the other."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fraud_detection.config import Config
from fraud_detection.detector import Detector, Instrument, OrderFacts
from fraud_detection.rules import Assessment
from fraud_detection.second_opinion import RISK, features, signal_of
from utils.domain.money import AMOUNT_CENTS_MAX
from utils.domain.order import TEXT_LENGTH_MAX, PaymentMethod, Reason
from utils.generative_ai.client import GenerativeAi
from utils.generative_ai.errors import GenerativeAiError
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.pb import fraud_detection_pb2 as pb, fraud_detection_pb2_grpc as pb_grpc
from utils.pb.convert import payment_method_from_proto, reason_to_proto
from utils.rpc.errors import InvalidArgument
from utils.verification import request as parts
from utils.verification.events import Event
from utils.verification.outcome import Outcome
from utils.verification.verification import Step, Verification
from utils.verification.wire import outcome_to_proto

log = get_logger()

# Of the time that an order still has, the model may take this much: suggestions come after it.
AI_SHARE: Final = 0.5


class FraudDetectionServicer(pb_grpc.FraudDetectionServiceServicer):
    """`now_s` is a monotonic time in seconds. Without `ai` the rules decide alone."""

    def __init__(
        self,
        verification: Verification,
        config: Config,
        detector: Detector,
        now_s: Callable[[], float],
        ai: GenerativeAi | None = None,
    ) -> None:
        self._verification = verification
        # Less than what rejects: the model never does that alone.
        self._ai_weight_max = min(config.fraud_ai_weight_max, config.fraud_reject_score - 1)
        self._detector = detector
        self._now_s = now_s
        self._ai = ai

    async def DetectFraud(self, request: pb.DetectFraudRequest, context: Any) -> pb.DetectFraudResponse:
        order_id = request.start.run_id.order_id
        log.info("request received", method="DetectFraud", order_id=order_id)
        deadline = asyncio.get_running_loop().time() + request.start.deadline_ms / 1_000
        facts = _facts(request)
        assessment = self._detector.judge(facts, self._now_s())
        # Read when E's work is done: what the model adds is among them then.
        payment_reasons: list[Reason] = list(assessment.payment_reasons)

        async def ask() -> None:
            nonlocal assessment
            assessment = await self._with_second_opinion(facts, assessment, deadline)
            payment_reasons.extend(assessment.payment_reasons)

        # In E, not in D: by then the other services have verified all but the fraud, and no model is paid for typos.
        steps = [
            Step(Event.D, assessment.user_reasons),
            Step(Event.E, payment_reasons, work=ask if self._ai is not None else None),
        ]
        outcome = await self._verification.perform(request.start, steps)
        verdict = _verdict(outcome, assessment)
        count(f"fraud_detection.{verdict}")
        log.info(
            "order assessed",
            order_id=order_id,
            verdict=verdict,
            score=assessment.score,
            signals=[signal.reason.code for signal in assessment.signals],
        )
        return pb.DetectFraudResponse(
            outcome=outcome_to_proto(outcome),
            risk_score=assessment.score,
            signals=[reason_to_proto(signal.reason) for signal in assessment.signals],
            review=verdict == "review",
        )

    async def _with_second_opinion(self, facts: OrderFacts, assessment: Assessment, deadline: float) -> Assessment:
        """With what the model adds, if it answers in time; as it was, if not."""
        assert self._ai is not None
        remaining_s = deadline - asyncio.get_running_loop().time()
        try:
            opinion = await self._ai.ask(RISK, features(facts, assessment), timeout_s=remaining_s * AI_SHARE)
        except GenerativeAiError:
            return assessment
        signal = signal_of(opinion, self._ai_weight_max)
        return assessment if signal is None else assessment.with_payment_signal(signal)


def _verdict(outcome: Outcome, assessment: Assessment) -> str:
    if outcome.reasons:
        return "rejected"
    if outcome.stopped:
        return "stopped"
    return "review" if assessment.review else "passed"


def _facts(request: pb.DetectFraudRequest) -> OrderFacts:
    """Raises InvalidArgument."""
    if request.amount_cents > AMOUNT_CENTS_MAX or len(request.device_language) > TEXT_LENGTH_MAX:
        raise InvalidArgument("amount_cents or device_language is out of bounds")
    if request.card.cvv:
        raise InvalidArgument("only transaction verification is told a security code")
    customer, address = parts.customer(request.customer), parts.address(request.billing_address)
    items = parts.items(request.items)
    if payment_method_from_proto(request.payment_method) is PaymentMethod.CARD:
        instrument = Instrument("card", parts.card(request.card).number)
    else:
        instrument = Instrument("iban", parts.bank_account(request.bank_account).iban)
    return OrderFacts(customer, address, items, request.amount_cents, instrument, request.device_language)
