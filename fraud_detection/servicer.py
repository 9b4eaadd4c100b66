"""FraudDetectionService: the wire on one side, the rules and the causal protocol on the other."""

from collections.abc import Callable
from typing import Any

from fraud_detection.config import Config
from fraud_detection.fingerprint import Fingerprints
from fraud_detection.rules import Assessment, Suspect, assess
from fraud_detection.velocity import VelocityWindow
from utils.domain.money import AMOUNT_CENTS_MAX
from utils.domain.order import TEXT_LENGTH_MAX, PaymentMethod
from utils.observe.logging import get_logger
from utils.pb import fraud_detection_pb2 as pb, fraud_detection_pb2_grpc as pb_grpc
from utils.pb.convert import payment_method_from_proto, reason_to_proto
from utils.rpc.errors import InvalidArgument
from utils.verification import request as parts
from utils.verification.events import Event
from utils.verification.verification import Step, Verification
from utils.verification.wire import outcome_to_proto

log = get_logger()


class FraudDetectionServicer(pb_grpc.FraudDetectionServiceServicer):
    """`now_s` is a monotonic time in seconds; `fingerprints` hash what is counted."""

    def __init__(
        self, verification: Verification, config: Config, fingerprints: Fingerprints, now_s: Callable[[], float]
    ) -> None:
        self._verification = verification
        self._config = config
        self._fingerprints = fingerprints
        self._now_s = now_s
        self._customers = VelocityWindow(config.fraud_window_s, config.fraud_window_keys_max)
        self._instruments = VelocityWindow(config.fraud_window_s, config.fraud_window_keys_max)

    async def DetectFraud(self, request: pb.DetectFraudRequest, context: Any) -> pb.DetectFraudResponse:
        order_id = request.start.run_id.order_id
        log.info("request received", method="DetectFraud", order_id=order_id)
        assessment = self._assess(request)
        outcome = await self._verification.perform(
            request.start,
            [Step(Event.D, assessment.user_reasons), Step(Event.E, assessment.payment_reasons)],
        )
        return pb.DetectFraudResponse(
            outcome=outcome_to_proto(outcome),
            risk_score=assessment.score,
            signals=[reason_to_proto(signal.reason) for signal in assessment.signals],
        )

    def _assess(self, request: pb.DetectFraudRequest) -> Assessment:
        if request.amount_cents > AMOUNT_CENTS_MAX or len(request.device_language) > TEXT_LENGTH_MAX:
            raise InvalidArgument("amount_cents or device_language is out of bounds")
        if request.card.cvv:
            raise InvalidArgument("only transaction verification is told a security code")
        customer, address = parts.customer(request.customer), parts.address(request.billing_address)
        items = parts.items(request.items)
        if payment_method_from_proto(request.payment_method) is PaymentMethod.CARD:
            kind, number, country = "card", parts.card(request.card).number, ""
        else:
            kind, number = "iban", parts.bank_account(request.bank_account).iban
            country = number.strip()[:2].upper()
        now_s = self._now_s()
        suspect = Suspect(
            customer=customer,
            billing_address=address,
            items=items,
            amount_cents=request.amount_cents,
            device_language=request.device_language,
            account_country=country,
            customer_orders=self._customers.observe(self._fingerprints.of("customer", customer.contact), now_s),
            instrument_orders=self._instruments.observe(self._fingerprints.of(kind, number.replace("-", "")), now_s),
        )
        return assess(
            suspect, reject_score=self._config.fraud_reject_score, copies_max=self._config.fraud_copies_max
        )  # fmt: skip
