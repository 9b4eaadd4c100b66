"""The three services that verify an order, over gRPC."""

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any, Final

from orchestrator.ports import Finding, Outcome, PricedCheckout, Run, Service
from utils.clocks.story import Event
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import PaymentMethod
from utils.observe.logging import get_logger
from utils.pb import (
    fraud_detection_pb2,
    fraud_detection_pb2_grpc,
    suggestions_pb2,
    suggestions_pb2_grpc,
    transaction_verification_pb2,
    transaction_verification_pb2_grpc,
    verification_pb2,
    verification_pb2_grpc,
)
from utils.pb.convert import (
    address_to_proto,
    bank_account_to_proto,
    book_from_proto,
    card_to_proto,
    clock_from_proto,
    clock_to_proto,
    customer_to_proto,
    instrument_from_proto,
    item_to_proto,
    payment_method_to_proto,
    reason_from_proto,
)
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError
from utils.verification import wire

log = get_logger()

SUGGESTIONS_MAX: Final = 5
# Stop and Forget are short: a service that does not take them in this time lets the run expire.
_NOTICE_TIMEOUT_S: Final = 2.0


class TrioClient:
    """Serves `orchestrator.ports.Trio`. An order is pinned to the replicas at `addresses`, which it says to each."""

    def __init__(self, runtime: BlockingRuntime, addresses: Mapping[Service, str]) -> None:
        self._runtime = runtime
        self._addresses = dict(addresses)
        runtime.run(self._open())

    async def _open(self) -> None:
        self._channels = {service: Channel(address) for service, address in self._addresses.items()}
        channels: dict[Service, Any] = dict(self._channels)
        self._peers = {
            service: verification_pb2_grpc.VerificationPeerStub(channel) for service, channel in channels.items()
        }
        self._transaction_verification = transaction_verification_pb2_grpc.TransactionVerificationServiceStub(
            channels[Service.TRANSACTION_VERIFICATION]
        )
        self._fraud_detection = fraud_detection_pb2_grpc.FraudDetectionServiceStub(channels[Service.FRAUD_DETECTION])
        self._suggestions = suggestions_pb2_grpc.SuggestionsServiceStub(channels[Service.SUGGESTIONS])

    def begin(self, service: Service, order: PricedCheckout, run: Run) -> "Future[Finding]":
        parts = {
            Service.TRANSACTION_VERIFICATION: self._verify_transaction,
            Service.FRAUD_DETECTION: self._detect_fraud,
            Service.SUGGESTIONS: self._suggest_books,
        }
        return self._runtime.submit(parts[service](order, run))

    def stop(self, run: Run, cause: str) -> None:
        request = verification_pb2.StopRequest(run_id=_run_id(run), cause=cause)
        self._runtime.submit(self._tell_stop(run, request))

    def forget(self, run: Run, final_clock: VectorClock, services: Collection[Service]) -> None:
        self._runtime.submit(self._tell_final_clock(run, final_clock, services))

    def close(self) -> None:
        self._runtime.run(self._close())

    async def _close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def _tell_stop(self, run: Run, request: verification_pb2.StopRequest) -> None:
        await asyncio.gather(*(self._told(service, run, peer.Stop, request) for service, peer in self._peers.items()))

    async def _tell_final_clock(self, run: Run, final_clock: VectorClock, services: Collection[Service]) -> None:
        clock = clock_to_proto(final_clock.entries)
        requests = {
            service: verification_pb2.ForgetRequest(
                run_id=_run_id(run), final_clock=clock if service in services else None
            )
            for service in self._peers
        }
        responses = await asyncio.gather(
            *(self._told(service, run, self._peers[service].Forget, request) for service, request in requests.items())
        )
        for service, response in zip(requests, responses, strict=True):
            if response is not None and not response.within_final:
                log.error(
                    "a service's clock exceeds the final clock",
                    order_id=run.order_id,
                    run=run.run,
                    peer=service,
                    clock=clock_from_proto(response.clock),
                    final_clock=final_clock.entries,
                )

    async def _told(self, service: Service, run: Run, method: Any, request: Any) -> Any:
        """The response; None where the service did not take it."""
        try:
            return await method(request, timeout=_NOTICE_TIMEOUT_S)
        except ServiceError as error:
            log.warning("a service was not told", order_id=run.order_id, peer=service, error=error.message)
            return None

    async def _verify_transaction(self, order: PricedCheckout, run: Run) -> Finding:
        request = order.request
        by_card = request.payment_method is PaymentMethod.CARD
        response = await self._transaction_verification.VerifyTransaction(
            transaction_verification_pb2.VerifyTransactionRequest(
                start=self._start(run),
                customer=customer_to_proto(request.customer),
                billing_address=address_to_proto(request.billing_address),
                items=[item_to_proto(item) for item in request.items],
                unknown_titles=order.unknown_titles,
                payment_method=payment_method_to_proto(request.payment_method),
                card=card_to_proto(request.card, with_cvv=True) if by_card else None,
                bank_account=None if by_card else bank_account_to_proto(request.bank_account),
                terms_accepted=request.terms_accepted,
            ),
            timeout=run.timeout_s,
        )
        instrument = instrument_from_proto(response.instrument) if response.HasField("instrument") else None
        outcome = _outcome(Service.TRANSACTION_VERIFICATION, response.outcome)
        return Finding(outcome, instrument=instrument)

    async def _detect_fraud(self, order: PricedCheckout, run: Run) -> Finding:
        request = order.request
        by_card = request.payment_method is PaymentMethod.CARD
        response = await self._fraud_detection.DetectFraud(
            fraud_detection_pb2.DetectFraudRequest(
                start=self._start(run),
                customer=customer_to_proto(request.customer),
                billing_address=address_to_proto(request.billing_address),
                items=[item_to_proto(item) for item in request.items],
                amount_cents=order.amount_cents,
                payment_method=payment_method_to_proto(request.payment_method),
                card=card_to_proto(request.card, with_cvv=False) if by_card else None,
                bank_account=None if by_card else bank_account_to_proto(request.bank_account),
                device_language=request.device_language,
            ),
            timeout=run.timeout_s,
        )
        outcome = _outcome(Service.FRAUD_DETECTION, response.outcome)
        return Finding(outcome, risk_score=response.risk_score)

    async def _suggest_books(self, order: PricedCheckout, run: Run) -> Finding:
        response = await self._suggestions.SuggestBooks(
            suggestions_pb2.SuggestBooksRequest(
                start=self._start(run),
                titles=[item.title for item in order.items],
                customer_hash=order.customer_hash,
                limit=SUGGESTIONS_MAX,
            ),
            timeout=run.timeout_s,
        )
        outcome = _outcome(Service.SUGGESTIONS, response.outcome)
        return Finding(outcome, books=tuple(book_from_proto(book) for book in response.books))

    def _start(self, run: Run) -> verification_pb2.RunStart:
        return verification_pb2.RunStart(
            run_id=_run_id(run),
            clock=clock_to_proto(run.clock.entries),
            # They should say that they are late before we stop listening.
            deadline_ms=max(1, int(run.timeout_s * 900)),
            peers={str(service): address for service, address in self._addresses.items()},
        )


def _run_id(run: Run) -> verification_pb2.RunId:
    return verification_pb2.RunId(order_id=run.order_id, run=run.run)


def _outcome(service: Service, message: verification_pb2.RunOutcome) -> Outcome:
    events = tuple(
        Event(service, event.value, VectorClock(clock_from_proto(clock)))
        for event, clock in zip(wire.events(message.events), message.event_clocks, strict=False)
    )
    return Outcome(
        clock=VectorClock(clock_from_proto(message.clock)),
        reasons=tuple(reason_from_proto(reason) for reason in message.reasons),
        stopped=message.stopped,
        events=events,
    )
