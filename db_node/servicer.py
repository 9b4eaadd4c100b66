"""DatabaseService: between the wire and the replicated machine."""

from typing import Any, assert_never

from db_node.commands import DecrementStock, Refusal, RefusalReason, RequestId, StockLeft, Value, Write, Written
from db_node.database_machine import DatabaseMachine, encode
from db_node.freshness import Freshness
from db_node.keyspace import Entry
from utils.db_client.keys import STOCK_PREFIX
from utils.domain.order import TITLE_LENGTH_MAX
from utils.pb import database_pb2 as pb, database_pb2_grpc
from utils.raft.consensus import Consensus
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, ServiceError, Unavailable

KEY_LENGTH_MAX = len(STOCK_PREFIX) + TITLE_LENGTH_MAX
TEXT_LENGTH_MAX = 4_096
ENTRIES_MAX = 1_000
RESERVATIONS_MAX = 1_000
CLIENT_ID_LENGTH_MAX = 64


class DatabaseServicer(database_pb2_grpc.DatabaseServiceServicer):
    """Writes and linearizable reads raise NotLeader on a replica; a write of unknown outcome raises Unavailable."""

    def __init__(self, node: Consensus, machine: DatabaseMachine, freshness: Freshness) -> None:
        self._node = node
        self._machine = machine
        self._freshness = freshness

    async def Read(self, request: pb.ReadRequest, context: Any) -> pb.ReadResponse:
        stale_ms = await self._consistent(request.consistency, context)
        entry = self._machine.get(request.key)
        if entry is None and stale_ms is None:
            raise Unavailable(f"{self._node.status.node_id} has not heard of the primary yet, nor of this key")
        if entry is None:
            raise NotFound(f"{_shown(request.key)} was never written")
        return pb.ReadResponse(entry=_entry(entry), stale_ms=stale_ms)

    async def ReadAll(self, request: pb.ReadAllRequest, context: Any) -> pb.ReadAllResponse:
        entries_max = min(request.max_entries or ENTRIES_MAX, ENTRIES_MAX)
        stale_ms = await self._consistent(request.consistency, context)
        entries, more = self._machine.scan(request.prefix, request.after_key, entries_max)
        return pb.ReadAllResponse(entries=[_entry(entry) for entry in entries], more=more, stale_ms=stale_ms)

    async def Write(self, request: pb.WriteRequest, context: Any) -> pb.WriteResponse:
        if not 1 <= len(request.key) <= KEY_LENGTH_MAX:
            raise InvalidArgument(f"a key has from 1 to {KEY_LENGTH_MAX} characters")
        expected_version = request.expected_version if request.HasField("expected_version") else None
        command = Write(request.key, _value(request.value), expected_version, _request_id(request.request_id))
        with raft_errors():
            result = await self._node.propose(encode(command), timeout_s=context.time_remaining())
        if isinstance(result, Refusal):
            raise _refused(result)
        assert isinstance(result, Written), result
        return pb.WriteResponse(version=result.version)

    async def DecrementStock(self, request: pb.DecrementStockRequest, context: Any) -> pb.DecrementStockResponse:
        if request.quantity < 1:
            raise InvalidArgument("quantity is at least 1")
        command = DecrementStock(request.book, request.quantity, _request_id(request.request_id))
        with raft_errors():
            result = await self._node.propose(encode(command), timeout_s=context.time_remaining())
        if isinstance(result, Refusal):
            raise _refused(result)
        assert isinstance(result, StockLeft), result
        return pb.DecrementStockResponse(stock=result.stock, version=result.version)

    async def GetDatabaseStatus(
        self, request: pb.GetDatabaseStatusRequest, context: Any
    ) -> pb.GetDatabaseStatusResponse:
        status = self._node.status
        return pb.GetDatabaseStatusResponse(
            node_id=status.node_id,
            is_primary=status.ready,
            primary_id=status.leader_id or "",
            term=status.term,
            last_applied=status.last_applied,
            keys=self._machine.keys_count,
            reservations=self._reservations(),
            stale_ms=self._freshness.stale_ms,
        )

    async def _consistent(self, consistency: pb.Consistency.ValueType, context: Any) -> int | None:
        """Makes the machine as fresh as asked, and returns how old it can be."""
        if consistency == pb.CONSISTENCY_STALE:
            return self._freshness.stale_ms
        if consistency != pb.CONSISTENCY_LINEARIZABLE:
            raise InvalidArgument(f"consistency {consistency} is not known")
        with raft_errors():
            await self._node.read_barrier(timeout_s=context.time_remaining())
        return 0

    def _reservations(self) -> list[pb.Reservation]:
        reservations: list[pb.Reservation] = []
        for attempt in self._machine.in_doubt[:RESERVATIONS_MAX]:
            for title, quantity in self._machine.reservation(attempt.order_id).items():
                reservations.append(
                    pb.Reservation(
                        order_id=attempt.order_id,
                        epoch=attempt.epoch,
                        number=attempt.number,
                        book=title,
                        quantity=quantity,
                    )
                )
        return reservations[:RESERVATIONS_MAX]


def _entry(entry: Entry) -> pb.Entry:
    value = pb.Value(integer=entry.value) if isinstance(entry.value, int) else pb.Value(text=entry.value)
    return pb.Entry(key=entry.key, value=value, version=entry.version, reserved=entry.reserved)


def _value(message: pb.Value) -> Value:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument("value is missing")
    if kind == "integer":
        return message.integer
    if len(message.text) > TEXT_LENGTH_MAX:
        raise InvalidArgument(f"a text has at most {TEXT_LENGTH_MAX} characters")
    return message.text


def _request_id(message: pb.RequestId) -> RequestId:
    if not 1 <= len(message.client_id) <= CLIENT_ID_LENGTH_MAX or message.sequence < 1:
        raise InvalidArgument(f"request_id needs a client_id of 1 to {CLIENT_ID_LENGTH_MAX} characters and a sequence")
    return RequestId(message.client_id, message.sequence)


def _refused(refusal: Refusal) -> ServiceError:
    match refusal.reason:
        case RefusalReason.KEY_UNKNOWN:
            return NotFound(refusal.message)
        case RefusalReason.WRONG_VALUE:
            return InvalidArgument(refusal.message)
        case RefusalReason.FULL:
            return ResourceExhausted(refusal.message)
        case (
            RefusalReason.VERSION_CONFLICT
            | RefusalReason.TOO_FEW_COPIES
            | RefusalReason.REQUEST_FORGOTTEN
            | RefusalReason.TOO_MANY_COPIES
            | RefusalReason.NOT_COMMITTED
        ):
            return FailedPrecondition(refusal.message, reason=refusal.reason)
    assert_never(refusal.reason)


def _shown(key: str) -> str:
    return key if len(key) <= KEY_LENGTH_MAX else f"{key[:KEY_LENGTH_MAX]}…"
