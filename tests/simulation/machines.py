"""The state machine of a simulated node: a register, and the real queue and the real database of the bookstore."""

import hashlib
import random
import threading
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from db_node import commands as database
from db_node.database_machine import DatabaseMachine, encode as encode_for_database
from order_queue import commands as queue
from order_queue.order_heap import OrderHeap
from order_queue.order_record import OrderResult
from order_queue.queue_machine import QueueMachine
from utils.db_client.keys import stock_key
from utils.domain.order import PaymentInstrument, PaymentMethod, PricedItem, QueuedOrder, Reason
from utils.two_phase_commit.messages import Attempt, Decision

_FILLER_BYTES_MAX = 600
_ORDERS = 40
_TITLES = ("Learning Python", "Clean Code")
_BOUNDS = queue.Bounds(pending_max=20, unrecorded_max=20)
_encoder = msgspec.msgpack.Encoder()


class Command(msgspec.Struct, frozen=True, array_like=True):
    """`number`: no two have the same. `machine`: which of the three it is for."""

    number: int
    machine: str
    data: bytes


class Applied(msgspec.Struct, frozen=True):
    """What whoever proposed a command is told: where it is in the log, and what the state is after it."""

    index: int
    digest: bytes


class _State(msgspec.Struct, array_like=True):
    digest: bytes
    register: int
    queue: bytes
    database: bytes


_decode = msgspec.msgpack.Decoder(Command).decode


def decode(data: bytes) -> Command:
    return _decode(data)


class SimulatedMachine:
    """Its digest stands for every command that it has applied, and for what each of them came to."""

    def __init__(self, rng: random.Random, applied: Callable[[int, "SimulatedMachine"], None]) -> None:
        """`applied(index, self)` is called after each command; index 0: the state came from a snapshot."""
        self._rng = rng
        self._applied = applied
        self._register = 0
        self._queue = QueueMachine(OrderHeap(threading.Lock()))
        self._database = DatabaseMachine()
        self.digest = bytes(8)

    def apply(self, index: int, command: bytes) -> Applied:
        result = self._apply(index, decode(command))
        step = self.digest + index.to_bytes(8, "little") + command + _encoder.encode(result)
        self.digest = hashlib.blake2b(step, digest_size=8).digest()
        self._applied(index, self)
        return Applied(index, self.digest)

    def snapshot(self) -> bytes:
        """Two nodes' snapshots of the same state have other bytes: parts of them do not fit together."""
        state = self.state
        body = state + self._rng.randbytes(self._rng.randint(0, _FILLER_BYTES_MAX))
        return len(state).to_bytes(4, "little") + body + zlib.crc32(body).to_bytes(4, "little")

    def restore(self, snapshot: bytes) -> None:
        """Raises AssertionError if it did not arrive as it was taken."""
        length, body = int.from_bytes(snapshot[:4], "little"), snapshot[4:-4]
        whole = zlib.crc32(body).to_bytes(4, "little") == snapshot[-4:]
        assert whole, "a snapshot was put together from what does not match"
        state = msgspec.msgpack.decode(body[:length], type=_State)
        self.digest, self._register = state.digest, state.register
        self._queue.restore(state.queue)
        self._database.restore(state.database)
        self._applied(0, self)

    @property
    def state(self) -> bytes:
        """All of it; equal states give equal bytes."""
        return _encoder.encode(_State(self.digest, self._register, self._queue.snapshot(), self._database.snapshot()))

    def _apply(self, index: int, command: Command) -> Any:
        if command.machine == "queue":
            return self._queue.apply(index, command.data)
        if command.machine == "database":
            return self._database.apply(index, command.data)
        before, self._register = self._register, command.number
        return before


class Commands:
    """What clients want: numbered, and otherwise drawn from few orders, books and keys, so that they meet."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._number = 0
        self._last_for_database: database.Command | None = None

    def next(self) -> tuple[int, bytes]:
        """A command's number, and the command."""
        self._number += 1
        kind = self._rng.random()
        if kind < 0.4:
            command = Command(self._number, "register", b"." * self._rng.choice((0, 0, 10, 300)))
        elif kind < 0.7:
            command = Command(self._number, "queue", queue.encode(self._for_queue()))
        else:
            # Now and then a client sends again what it has sent before, with the same request id.
            if self._last_for_database is None or self._rng.random() < 0.9:
                self._last_for_database = self._for_database()
            command = Command(self._number, "database", encode_for_database(self._last_for_database))
        return self._number, _encoder.encode(command)

    def _for_queue(self) -> queue.Command:
        order_id = f"{self._rng.randrange(_ORDERS):032x}"
        kind = self._rng.random()
        if kind < 0.5:
            item = PricedItem(self._rng.choice(_TITLES), self._rng.randint(1, 5), 1_000)
            order = QueuedOrder(
                order_id=order_id,
                items=(item,),
                shipping_cents=500,
                amount_cents=500 + 1_000 * item.quantity,
                instrument=PaymentInstrument(PaymentMethod.CARD, brand="Visa", last_four="4242"),
            )
            return queue.Enqueue(order, b"fingerprint", _BOUNDS)
        if kind < 0.6:
            return queue.RecordRejection(
                order_id, b"fingerprint", (Reason("no_items", "There is nothing."),), 0, _BOUNDS
            )
        if kind < 0.9:
            return queue.Complete(
                (OrderResult(order_id, self._rng.randint(1, 5), approved=True, confirmation_code="C"),)
            )
        return queue.MarkRecorded(self._number)

    def _for_database(self) -> database.Command:
        title = self._rng.choice(_TITLES)
        request = database.RequestId(f"client {self._rng.randrange(3)}", self._number)
        attempt = Attempt(f"{self._rng.randrange(_ORDERS):032x}", self._rng.randint(1, 3), self._rng.randint(1, 2))
        kind = self._rng.random()
        if kind < 0.3:
            expected_version = self._rng.choice((None, None, self._rng.randint(0, 9)))
            return database.Write(stock_key(title), self._rng.randint(0, 30), expected_version, request)
        if kind < 0.5:
            return database.DecrementStock(title, self._rng.randint(1, 3), request)
        if kind < 0.75:
            copies = database.OrderedCopies(attempt, self._number, {title: self._rng.randint(1, 5)})
            return database.Prepare((copies,), 0)
        return database.Decide((Decision(attempt, commit=self._rng.random() < 0.5),))
