"""TransactionVerificationService: the wire on one side, the rules and the causal protocol on the other."""

from collections.abc import Callable
from datetime import date
from typing import Any

from transaction_verification import payment_rules, rules
from utils.domain.order import PaymentInstrument, PaymentMethod, Reason
from utils.observe.logging import get_logger
from utils.pb import transaction_verification_pb2 as pb, transaction_verification_pb2_grpc as pb_grpc
from utils.pb.convert import instrument_to_proto, payment_method_from_proto
from utils.verification import request as parts
from utils.verification.events import Event
from utils.verification.verification import Step, Verification
from utils.verification.wire import outcome_to_proto

log = get_logger()


class TransactionVerificationServicer(pb_grpc.TransactionVerificationServiceServicer):
    """`today` is the day by which cards expire."""

    def __init__(self, verification: Verification, today: Callable[[], date]) -> None:
        self._verification = verification
        self._today = today

    async def VerifyTransaction(
        self, request: pb.VerifyTransactionRequest, context: Any
    ) -> pb.VerifyTransactionResponse:
        log.info("request received", method="VerifyTransaction", order_id=request.start.run_id.order_id)
        items = parts.items(request.items)
        user_reasons = rules.check_user(
            parts.customer(request.customer),
            parts.address(request.billing_address),
            terms_accepted=request.terms_accepted,
        )
        instrument, payment_reasons = self._payment(request)
        outcome = await self._verification.perform(
            request.start,
            [
                Step(Event.A, tuple(rules.check_items(items, parts.titles(request.unknown_titles)))),
                Step(Event.B, tuple(user_reasons)),
                Step(Event.C, payment_reasons),
            ],
        )
        response = pb.VerifyTransactionResponse(outcome=outcome_to_proto(outcome))
        if Event.C in outcome.events:
            response.instrument.CopyFrom(instrument_to_proto(instrument))
        return response

    def _payment(self, request: pb.VerifyTransactionRequest) -> tuple[PaymentInstrument, tuple[Reason, ...]]:
        if payment_method_from_proto(request.payment_method) is PaymentMethod.CARD:
            card = parts.card(request.card)
            return payment_rules.card_instrument(card), tuple(payment_rules.check_card(card, self._today()))
        account = parts.bank_account(request.bank_account)
        return payment_rules.bank_instrument(account), tuple(payment_rules.check_bank_account(account))
