"""The queue: clients enqueue and ask, an executor takes orders and ends them."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.integration.order_queue.queue_cluster import poll_request
from tests.linearizability.checker import check
from tests.linearizability.clients import CALL_TIMEOUT_S, Recorder
from tests.linearizability.faults import inflict
from tests.linearizability.models import Complete, Dequeue, Enqueue, GetOrder, QueueModel
from tests.linearizability.processes import replicated
from tests.linearizability.report import Report
from tests.unit.order_queue.harness import approved, enqueue_request
from tests.unit.order_queue.words import number_of, order_id
from utils.pb import order_queue_pb2 as pb
from utils.pb.order_queue_pb2_grpc import OrderQueueServiceStub
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import NotFound

SHOPPERS = 3
OPERATIONS_MAX = 6_000
_ORDERS_AT_ONCE = 3
_HELD_MAX = 6
_QUANTITY_MAX = 5
# For each fault.
_ANSWERED_MIN = 30


def settings(node_id: str, port: int, peers: dict[str, str]) -> dict[str, str]:
    return {
        "NODE_ID": node_id,
        "BIND_HOST": "127.0.0.1",
        "PORT": str(port),
        "RAFT_PEERS": ",".join(f"{peer}={address}" for peer, address in peers.items()),
        "SNAPSHOT_ENTRIES": "200",
    }


async def run(directory: Path, *, rounds: int, seed: int) -> Report:
    """Raises AssertionError when the history is not linearizable, or there was too little traffic to tell."""
    choice = random.Random(seed)
    recorder = Recorder(OPERATIONS_MAX, choice)
    async with replicated("order_queue", settings, directory) as processes:
        users = QueueUsers(recorder, tuple(processes.addresses.values()))
        async with asyncio.TaskGroup() as tasks:
            for shopper in range(SHOPPERS):
                tasks.create_task(users.shop(shopper))
            tasks.create_task(users.execute())
            faults, terms = await inflict(processes, rounds, choice)
            recorder.end()
    violation = check(QueueModel(users.positions), recorder.history.operations)
    assert violation is None, f"the queue is not linearizable (seed {seed}): {violation}"
    report = Report([recorder.history], faults, terms)
    report.require(answered_min=_ANSWERED_MIN * faults)
    polls = [
        one for one in recorder.history.operations if isinstance(one.call, Dequeue) and one.returned_at is not None
    ]
    handed_out = sum(len(poll.result) for poll in polls)
    assert handed_out >= 5 * faults, f"{handed_out} orders were handed out: too few to prove anything"
    return report


class QueueUsers:
    """`positions`: of the orders, as any answer has told them."""

    def __init__(self, recorder: Recorder, addresses: Sequence[str]) -> None:
        self.positions: dict[int, int] = {}
        self._recorder = recorder
        self._addresses = addresses
        self._orders: list[int] = []

    async def shop(self, number: int) -> None:
        """Enqueues orders, some of them twice, and asks what became of others."""
        choice, lives = self._recorder.choice, 0
        async with _client(self._addresses, self.positions) as client:
            while not self._recorder.is_over:
                kind = choice.random()
                if kind < 0.4 or not self._orders:
                    self._orders.append(len(self._orders) + 1)
                    order = self._orders[-1]
                else:
                    order = choice.choice(self._orders[-20:])
                call = Enqueue(order, 1 + order * 7 % _QUANTITY_MAX) if kind < 0.6 else GetOrder(order)
                answered, _ = await self._recorder.perform(f"shopper {number}/{lives}", call, client.ask)
                lives += not answered
                await self._recorder.think()

    async def execute(self) -> None:
        """Takes orders, and ends some of those that it holds. There is one of its kind, as there is one leader."""
        choice, lives = self._recorder.choice, 0
        held: list[int] = []
        async with _client(self._addresses, self.positions) as client:
            while not self._recorder.is_over:
                wants_more = len(held) < _HELD_MAX and (not held or choice.random() < 0.5)
                call = Dequeue(tuple(held), _ORDERS_AT_ONCE) if wants_more else Complete(choice.choice(held))
                answered, result = await self._recorder.perform(f"executor/{lives}", call, client.ask)
                if not answered:
                    lives += 1
                elif isinstance(call, Complete):
                    held.remove(call.order)
                else:
                    held += result
                await self._recorder.think()


class QueueClient:
    """`positions`: learns where the orders are."""

    def __init__(self, channel: ClusterChannel, positions: dict[int, int]) -> None:
        self._stub = OrderQueueServiceStub(channel)  # type: ignore[arg-type]
        self._positions = positions

    async def ask(self, call: Enqueue | GetOrder | Dequeue | Complete) -> int | str | tuple[int, ...] | None:
        """The result, as the model knows it. Raises Unavailable and DeadlineExceeded."""
        match call:
            case Enqueue(order, quantity):
                enqueued = await self._stub.Enqueue(enqueue_request(order, quantity), timeout=CALL_TIMEOUT_S)
                return self._learn(order, enqueued.record.position)
            case GetOrder(order):
                return await self._get(order)
            case Dequeue(held, orders_max):
                taken = await self._stub.Dequeue(poll_request(*held, max_orders=orders_max), timeout=CALL_TIMEOUT_S)
                for claimed in taken.orders:
                    self._learn(number_of(claimed.order.order_id), claimed.position)
                return tuple(number_of(claimed.order.order_id) for claimed in taken.orders)
            case Complete(order):
                await self._stub.Complete(pb.CompleteRequest(results=[approved(order)]), timeout=CALL_TIMEOUT_S)
                return None

    async def _get(self, order: int) -> str:
        try:
            response = await self._stub.GetOrder(pb.GetOrderRequest(order_id=order_id(order)), timeout=CALL_TIMEOUT_S)
        except NotFound:
            return "unknown"
        self._learn(order, response.record.position)
        return "pending" if response.record.state == pb.OrderRecord.STATE_PENDING else "ended"

    def _learn(self, order: int, position: int) -> int:
        assert self._positions.setdefault(order, position) == position, f"order {order} has moved to {position}"
        return position


@contextlib.asynccontextmanager
async def _client(addresses: Sequence[str], positions: dict[int, int]) -> AsyncIterator[QueueClient]:
    channel = ClusterChannel(addresses)
    try:
        yield QueueClient(channel, positions)
    finally:
        await channel.close()
