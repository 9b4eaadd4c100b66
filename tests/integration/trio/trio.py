"""The three services on real sockets, an orchestrator that calls them, and relays that spoil what passes between."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

from fraud_detection.config import Config as FraudConfig
from fraud_detection.detector import Detector
from fraud_detection.fingerprint import Fingerprints
from fraud_detection.servicer import FraudDetectionServicer
from transaction_verification.servicer import TransactionVerificationServicer
from utils.clocks.vector_clock import VectorClock
from utils.generative_ai.client import GenerativeAi
from utils.pb import (
    fraud_detection_pb2,
    fraud_detection_pb2_grpc,
    order_pb2,
    suggestions_pb2,
    suggestions_pb2_grpc,
    transaction_verification_pb2,
    transaction_verification_pb2_grpc,
    vector_clock_pb2,
    verification_pb2,
    verification_pb2_grpc,
)
from utils.rpc.channel import Channel
from utils.rpc.server import RpcServer
from utils.verification.events import FRAUD_DETECTION, SERVICES, SUGGESTIONS, TRANSACTION_VERIFICATION, Event
from utils.verification.runs import Limits, Run, RunId
from utils.verification.verification import Step, Verification
from utils.verification.wire import outcome_to_proto

TODAY = date(2026, 6, 15)
CUSTOMER = order_pb2.Customer(name="Mari Maasikas", contact="mari@example.com")
ADDRESS = order_pb2.Address(street="Narva mnt 18", city="Tartu", zip="51009", country="Estonia")
CARD = order_pb2.PaymentCard(number="4111 1111 1111 1111", expiration_date="12/30", cvv="123")

Forward = Callable[[verification_pb2.Notification], Awaitable[Any]]
# What a relay does with a notification instead of forwarding it once.
Spoil = Callable[[verification_pb2.Notification, Forward], Awaitable[None]]
Work = Callable[[], Awaitable[object]]


class SuggestionsDouble(suggestions_pb2_grpc.SuggestionsServiceServicer):
    """Event F with whatever work a test gives it."""

    def __init__(self, verification: Verification) -> None:
        self._verification = verification
        self.work: Work | None = None

    async def SuggestBooks(self, request: Any, context: Any) -> suggestions_pb2.SuggestBooksResponse:
        outcome = await self._verification.perform(request.start, [Step(Event.F, work=self.work)])
        return suggestions_pb2.SuggestBooksResponse(outcome=outcome_to_proto(outcome))


class Relay(verification_pb2_grpc.VerificationPeerServicer):
    """Stands between senders and one service."""

    def __init__(self, target: str, spoil: Spoil) -> None:
        self._channel = Channel(target)
        self._stub = verification_pb2_grpc.VerificationPeerStub(self._channel)  # type: ignore[arg-type]
        self._spoil = spoil

    async def Notify(self, request: Any, context: Any) -> verification_pb2.NotifyResponse:
        async def forward(notification: verification_pb2.Notification) -> None:
            await self._stub.Notify(verification_pb2.NotifyRequest(notifications=[notification]), timeout=5)

        for notification in request.notifications:
            await self._spoil(notification, forward)
        return verification_pb2.NotifyResponse()

    async def Stop(self, request: Any, context: Any) -> verification_pb2.StopResponse:
        return await self._stub.Stop(request, timeout=5)

    async def Forget(self, request: Any, context: Any) -> verification_pb2.ForgetResponse:
        return await self._stub.Forget(request, timeout=5)

    async def close(self) -> None:
        await self._channel.close()


class Caller:
    """The calls that an orchestrator makes, to services at their addresses."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = dict(addresses)
        self.channels = {service: Channel(address) for service, address in addresses.items()}

    async def close(self) -> None:
        for channel in self.channels.values():
            await channel.close()

    def start_message(
        self, *, deadline_s: float = 5, peers: Mapping[str, str] | None = None
    ) -> verification_pb2.RunStart:
        return verification_pb2.RunStart(
            run_id=verification_pb2.RunId(order_id=secrets.token_hex(16), run=secrets.token_hex(8)),
            clock=vector_clock_pb2.VectorClock(entries={"orchestrator": 1}),
            deadline_ms=round(deadline_s * 1_000),
            peers={**self.addresses, **(peers or {})},
        )

    async def verify(self, start: verification_pb2.RunStart, **fields: Any) -> Any:
        """VerifyTransaction for a good order, except for `fields`."""
        good: dict[str, Any] = {
            "customer": CUSTOMER,
            "billing_address": ADDRESS,
            "items": [order_pb2.OrderItem(title="1984", quantity=1)],
            "payment_method": order_pb2.PAYMENT_METHOD_CARD,
            "card": CARD,
            "terms_accepted": True,
        }
        request = transaction_verification_pb2.VerifyTransactionRequest(start=start, **(good | fields))
        channel = self.channels[TRANSACTION_VERIFICATION]
        stub = transaction_verification_pb2_grpc.TransactionVerificationServiceStub(channel)  # type: ignore[arg-type]
        return await stub.VerifyTransaction(request, timeout=10)

    async def detect(self, start: verification_pb2.RunStart, **fields: Any) -> Any:
        """DetectFraud for a good order, except for `fields`."""
        good: dict[str, Any] = {
            "customer": CUSTOMER,
            "billing_address": ADDRESS,
            "items": [order_pb2.OrderItem(title="1984", quantity=1)],
            "amount_cents": 1_299,
            "payment_method": order_pb2.PAYMENT_METHOD_CARD,
            "card": order_pb2.PaymentCard(number=CARD.number, expiration_date=CARD.expiration_date),
        }
        request = fraud_detection_pb2.DetectFraudRequest(start=start, **(good | fields))
        channel = self.channels[FRAUD_DETECTION]
        stub = fraud_detection_pb2_grpc.FraudDetectionServiceStub(channel)  # type: ignore[arg-type]
        return await stub.DetectFraud(request, timeout=10)

    async def suggest(self, start: verification_pb2.RunStart) -> Any:
        """SuggestBooks."""
        stub = suggestions_pb2_grpc.SuggestionsServiceStub(self.channels[SUGGESTIONS])  # type: ignore[arg-type]
        return await stub.SuggestBooks(suggestions_pb2.SuggestBooksRequest(start=start), timeout=10)

    async def all_three(self, start: verification_pb2.RunStart) -> list[Any]:
        """Three good requests at once; errors are in the list."""
        calls = (self.verify(start), self.detect(start), self.suggest(start))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    async def notify(
        self, service: str, *notifications: verification_pb2.Notification
    ) -> verification_pb2.NotifyResponse:
        """As a peer does it."""
        request = verification_pb2.NotifyRequest(notifications=notifications)
        return await self.peer(service).Notify(request, timeout=5)

    def peer(self, service: str) -> verification_pb2_grpc.VerificationPeerStub:
        return verification_pb2_grpc.VerificationPeerStub(self.channels[service])  # type: ignore[arg-type]


class Trio(Caller):
    """All three in this process, and their caller."""

    def __init__(self, limits: Limits | None = None, ai: GenerativeAi | None = None) -> None:
        self._ai = ai
        self.verifications = {service: Verification(service, limits=limits) for service in SERVICES}
        self.servers = {service: RpcServer("127.0.0.1:0", node_id=service) for service in SERVICES}
        super().__init__({service: f"127.0.0.1:{server.port}" for service, server in self.servers.items()})
        self.suggestions = SuggestionsDouble(self.verifications[SUGGESTIONS])
        self._relays: list[tuple[RpcServer, Relay]] = []

    async def start(self) -> None:
        for service, server in self.servers.items():
            self.verifications[service].add_to(server)
        transaction_verification_pb2_grpc.add_TransactionVerificationServiceServicer_to_server(
            TransactionVerificationServicer(self.verifications[TRANSACTION_VERIFICATION], lambda: TODAY),
            self.servers[TRANSACTION_VERIFICATION],  # type: ignore[arg-type]
        )
        config = FraudConfig()
        fraud_detection_pb2_grpc.add_FraudDetectionServiceServicer_to_server(
            FraudDetectionServicer(
                self.verifications[FRAUD_DETECTION],
                config,
                Detector(config, Fingerprints("key")),
                asyncio.get_running_loop().time,
                self._ai,
            ),
            self.servers[FRAUD_DETECTION],  # type: ignore[arg-type]
        )
        suggestions_pb2_grpc.add_SuggestionsServiceServicer_to_server(
            self.suggestions,
            self.servers[SUGGESTIONS],  # type: ignore[arg-type]
        )
        for server in self.servers.values():
            await server.start()

    async def stop(self) -> None:
        await self.close()
        for service in SERVICES:
            await self.verifications[service].close()
            await self.servers[service].stop(0)
        for server, relay in self._relays:
            await relay.close()
            await server.stop(0)

    async def relay_to(self, service: str, spoil: Spoil) -> str:
        """The address of a relay before `service`."""
        server = RpcServer("127.0.0.1:0", node_id="relay")
        relay = Relay(self.addresses[service], spoil)
        verification_pb2_grpc.add_VerificationPeerServicer_to_server(relay, server)  # type: ignore[arg-type]
        await server.start()
        self._relays.append((server, relay))
        return f"127.0.0.1:{server.port}"

    async def begun(self, service: str, start: verification_pb2.RunStart) -> Run:
        """The run of `service`, once the order has reached it."""
        run_id = RunId(start.run_id.order_id, start.run_id.run)
        while (run := self.verifications[service].runs.hear_of(run_id)) is None or not run.begun:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return run

    async def all_have_heard(self, start: verification_pb2.RunStart, clock: Mapping[str, int]) -> None:
        """Waits until the clock of each service is `clock`."""
        async with asyncio.timeout(5):
            for service in SERVICES:
                run = await self.begun(service, start)
                while run.state.clock.entries != clock:  # noqa: ASYNC110 - a notification tells nobody else
                    await asyncio.sleep(0.005)


class History:
    """Every event of all three services, as it happens, with its clock."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.clocks: list[VectorClock] = []
        self._happened = {event: asyncio.Event() for event in Event}

    def append(self, event: Event, clock: VectorClock) -> None:
        self.events.append(event)
        self.clocks.append(clock)
        self._happened[event].set()

    async def reaches(self, event: Event) -> None:
        """Waits until some run has come to `event`."""
        await asyncio.wait_for(self._happened[event].wait(), 5)


@asynccontextmanager
async def running_trio(limits: Limits | None = None, ai: GenerativeAi | None = None) -> AsyncIterator[Trio]:
    """`ai` is what fraud detection asks, if anybody."""
    trio = Trio(limits, ai)
    await trio.start()
    try:
        yield trio
    finally:
        await trio.stop()
