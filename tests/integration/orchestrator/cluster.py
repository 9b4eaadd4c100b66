"""Every service that the orchestrator talks to, served over real gRPC from one port, with answers that a test sets."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from utils.catalogue import load_catalogue
from utils.db_client.keys import PRICE_PREFIX, STOCK_PREFIX, price_key, stock_key
from utils.pb import (
    database_pb2 as db,
    database_pb2_grpc,
    fraud_detection_pb2 as fraud,
    fraud_detection_pb2_grpc,
    order_pb2,
    order_queue_pb2 as queue,
    order_queue_pb2_grpc,
    raft_pb2,
    raft_pb2_grpc,
    suggestions_pb2 as suggestions,
    suggestions_pb2_grpc,
    transaction_verification_pb2 as transaction,
    transaction_verification_pb2_grpc,
    vector_clock_pb2,
    verification_pb2 as verification,
    verification_pb2_grpc,
)
from utils.rpc.blocking import BlockingRuntime
from utils.rpc.errors import NotFound, Unavailable
from utils.rpc.server import RpcServer

BOOK = order_pb2.Book(book_id="book-c", title="Book C", author="C. Author")

Hook = Callable[[Any], Awaitable[Any]]


def outcome(*, stopped: bool = False, reasons: tuple[str, ...] = (), **clock: int) -> verification.RunOutcome:
    return verification.RunOutcome(
        clock=vector_clock_pb2.VectorClock(entries=clock),
        reasons=[order_pb2.Reason(code=code, message=f"{code} in words.") for code in reasons],
        stopped=stopped,
    )


class Cluster:
    """`requests` holds what each method was asked, by its name; `hooks` may answer in place of what is usual."""

    def __init__(self) -> None:
        self.requests: dict[str, list[Any]] = {}
        self.hooks: dict[str, Hook] = {}
        self.records: dict[str, queue.OrderRecord] = {}
        self._changed = threading.Condition()
        self._runtime = BlockingRuntime()
        self.address = f"127.0.0.1:{self._runtime.run(self._start())}"

    async def _start(self) -> int:
        self._server = RpcServer("127.0.0.1:0", node_id="everybody")
        services: tuple[tuple[Callable[..., None], type[_Servicer]], ...] = (
            (transaction_verification_pb2_grpc.add_TransactionVerificationServiceServicer_to_server, _Trio),
            (fraud_detection_pb2_grpc.add_FraudDetectionServiceServicer_to_server, _Trio),
            (suggestions_pb2_grpc.add_SuggestionsServiceServicer_to_server, _Trio),
            (suggestions_pb2_grpc.add_DiscoveryServiceServicer_to_server, _Discovery),
            (verification_pb2_grpc.add_VerificationPeerServicer_to_server, _Trio),
            (order_queue_pb2_grpc.add_OrderQueueServiceServicer_to_server, _Queue),
            (database_pb2_grpc.add_DatabaseServiceServicer_to_server, _Database),
            (raft_pb2_grpc.add_RaftServiceServicer_to_server, _Raft),
        )
        for add, servicer in services:
            add(servicer(self), self._server)
        await self._server.start()
        await self._server.set_serving(True)
        return self._server.port

    def close(self) -> None:
        self._runtime.run(self._stop())
        self._runtime.close()

    async def _stop(self) -> None:
        await self._server.stop(grace_s=0)
        # What the server has cancelled ends in its own time.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=5)

    async def answer(self, method: str, request: Any, usual: Hook) -> Any:
        with self._changed:
            self.requests.setdefault(method, []).append(request)
            self._changed.notify_all()
        return await self.hooks.get(method, usual)(request)

    def wait_for(self, method: str, count: int = 1) -> list[Any]:
        """Waits until a method was called `count` times."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests.get(method, [])) >= count, timeout=10), method
            return self.requests[method]


class _Servicer:
    """Hands each call to the cluster: `usual_Method` is how the method answers where no hook does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __getattr__(self, method: str) -> Any:
        if not method[0].isupper():
            raise AttributeError(method)
        usual = getattr(self, f"usual_{method}", self.unexpected)

        async def serve(request: Any, context: Any) -> Any:
            return await self.cluster.answer(method, request, usual)

        return serve

    async def unexpected(self, request: Any) -> Any:
        raise AssertionError(f"nobody should send {request}")


class _Trio(_Servicer):
    async def usual_VerifyTransaction(self, request: Any) -> Any:
        if not request.items or request.unknown_titles:
            return transaction.VerifyTransactionResponse(outcome=outcome(reasons=("items_missing",), stopped=True))
        instrument = order_pb2.PaymentInstrument(
            method=order_pb2.PAYMENT_METHOD_CARD, brand="visa", last_four=request.card.number[-4:]
        )
        return transaction.VerifyTransactionResponse(
            outcome=outcome(transaction_verification=3, fraud_detection=1), instrument=instrument
        )

    async def usual_DetectFraud(self, request: Any) -> Any:
        return fraud.DetectFraudResponse(outcome=outcome(transaction_verification=3, fraud_detection=2), risk_score=7)

    async def usual_SuggestBooks(self, request: Any) -> Any:
        return suggestions.SuggestBooksResponse(
            outcome=outcome(transaction_verification=3, fraud_detection=2, suggestions=1),
            books=[BOOK],
        )

    async def usual_Stop(self, request: Any) -> Any:
        return verification.StopResponse()

    async def usual_Forget(self, request: Any) -> Any:
        return verification.ForgetResponse(within_final=True)


class _Discovery(_Servicer):
    async def usual_SearchBooks(self, request: Any) -> Any:
        return suggestions.SearchBooksResponse(books=[BOOK], ranking="full-text")

    async def usual_RecommendBooks(self, request: Any) -> Any:
        return suggestions.RecommendBooksResponse(books=[BOOK], source="static")


class _Queue(_Servicer):
    async def usual_Enqueue(self, request: Any) -> Any:
        record = queue.OrderRecord(
            order_id=request.order.order_id,
            state=queue.OrderRecord.STATE_PENDING,
            fingerprint=request.fingerprint,
            order=request.order,
            risk_score=request.order.risk_score,
        )
        return queue.EnqueueResponse(record=self.cluster.records.setdefault(record.order_id, record))

    async def usual_RecordRejection(self, request: Any) -> Any:
        record = queue.OrderRecord(
            order_id=request.order_id,
            state=queue.OrderRecord.STATE_REJECTED,
            fingerprint=request.fingerprint,
            reasons=request.reasons,
            risk_score=request.risk_score,
        )
        return queue.RecordRejectionResponse(record=self.cluster.records.setdefault(record.order_id, record))

    async def usual_GetOrder(self, request: Any) -> Any:
        record = self.cluster.records.get(request.order_id)
        if record is None:
            raise NotFound("unknown")
        if request.wait_ms and record.state == queue.OrderRecord.STATE_PENDING:
            record.state, record.confirmation_code = queue.OrderRecord.STATE_APPROVED, "OK-1"
        return queue.GetOrderResponse(record=record)


class _Database(_Servicer):
    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._entries = {
            key: db.Entry(key=key, value=db.Value(integer=value), version=1)
            for book in load_catalogue()
            for key, value in ((price_key(book.title), book.price_cents), (stock_key(book.title), book.stock))
        }

    async def usual_Read(self, request: Any) -> Any:
        if request.key not in self._entries:
            raise NotFound("never written")
        return db.ReadResponse(entry=self._entries[request.key])

    async def usual_ReadAll(self, request: Any) -> Any:
        assert request.prefix in {PRICE_PREFIX, STOCK_PREFIX}
        assert request.consistency == db.CONSISTENCY_STALE
        found = [entry for key, entry in self._entries.items() if key.startswith(request.prefix)]
        return db.ReadAllResponse(entries=found, stale_ms=3)


class _Raft(_Servicer):
    async def usual_GetRaftStatus(self, request: Any) -> Any:
        return raft_pb2.GetRaftStatusResponse(node_id="n1", role="leader", term=1, leader_id="n1", ready=True)


async def gone(_request: Any) -> Any:
    """A hook: the service is not there."""
    raise Unavailable("gone")


class Held:
    """A hook that holds a call until the test lets it go; tells when it has begun and whether it was cancelled."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._release = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self, _request: Any) -> Any:
        self._loop = asyncio.get_running_loop()
        self.begun.set()
        try:
            await self._release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self._answer

    def release(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._release.set)
