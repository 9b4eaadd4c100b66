"""Every labelled point of the coordinator, the database, payment, the queue and the log: alone, and every ordered pair.

On the real machines and the real executor, in virtual time. Five orders meet each crash: two are approved, one is
declined, and two compete for a last copy; one of them arrives only after the first crash. Whatever is approved is
refunded at once, and the copies are back but for the last one.
"""

import asyncio
from collections.abc import Sequence

import pytest

from db_node.keyspace import Entry
from order_executor.executor import Executor
from order_queue.order_record import OrderRecord, OrderState
from payment.ledger import PaymentState
from tests.orders.services import Database, Log, Payment, Queue, Trap
from tests.simulation.loop import SimulatedLoop
from tests.support.crash_points import POINTS, Point
from utils.db_client.keys import stock_key
from utils.domain.order import PaymentInstrument, PaymentMethod, PricedItem, QueuedOrder

STOCK = {"Book A": 10, "The Last Copy": 1}
ORDERS = {1: "Book A", 2: "Book A", 3: "The Last Copy", 4: "The Last Copy", 5: "Book A"}
DECLINED = 2
LATE = 5
# What is refunded goes back to the shelf, but for this.
LOST = "The Last Copy"
PRICE_CENTS = 1_250
VIRTUAL_S_MAX = 600


def order_id(number: int) -> str:
    return f"{number:016x}" * 2


def queued_order(number: int) -> QueuedOrder:
    method = PaymentMethod.BANK_TRANSFER if number == DECLINED else PaymentMethod.CARD
    return QueuedOrder(
        order_id=order_id(number),
        items=(PricedItem(ORDERS[number], 1, PRICE_CENTS),),
        shipping_cents=0,
        amount_cents=PRICE_CENTS,
        instrument=PaymentInstrument(method, "", ""),
    )


class System:
    def __init__(self, points: Sequence[Point]) -> None:
        self.trap = Trap(points)
        self.queue = Queue(self.trap)
        self.database = Database(self.trap, STOCK)
        self.payment = Payment(self.trap)
        self.log = Log(self.trap)
        self.refunds_requested = False
        for number in ORDERS:
            if number != LATE:
                self.queue.put(queued_order(number))

    async def run(self) -> None:
        """Until every order has ended and nothing is left to do, with a new executor after each that dies."""
        late = asyncio.create_task(self._order_late())
        operator = asyncio.create_task(self._refund_all())
        while not self._is_done:
            executor = asyncio.create_task(self._executor().run())
            died = asyncio.create_task(self.trap.executor_died.wait())
            done = asyncio.create_task(self._until_done())
            await asyncio.wait((executor, died, done), return_when=asyncio.FIRST_COMPLETED)
            assert not executor.done(), executor.exception()
            for task in (executor, died, done):
                task.cancel()
            await asyncio.wait((executor, died, done))
            self.trap.executor_died.clear()
            self.log.epoch += 1
        await asyncio.gather(late, operator)

    def _executor(self) -> Executor:
        return Executor(
            election=self.log,
            queue=self.queue,
            participants={"database": self.database, "payment": self.payment},
            in_flight_max=8,
        )

    async def _order_late(self) -> None:
        await self.trap.sprung.wait()
        self.queue.put(queued_order(LATE))

    async def _refund_all(self) -> None:
        """Each approved order as soon as the queue knows that it is."""
        for number in sorted(ORDERS):
            while not (record := self._record(number)).ended_index:  # noqa: ASYNC110 - the queue's machine tells nobody
                await asyncio.sleep(0.001)
            if record.state is OrderState.APPROVED:
                self.queue.request_refund(order_id(number), restock=ORDERS[number] != LOST)
        self.refunds_requested = True

    def _record(self, number: int) -> OrderRecord:
        """LATE is known from the first crash on."""
        record = self.queue.machine.record(order_id(number))
        return record or OrderRecord(order_id(number), OrderState.PENDING, 0, b"")

    @property
    def _is_done(self) -> bool:
        has_ended = self.log.decisions.finished_count == len(ORDERS) and self.queue.machine.pending_count == 0
        return has_ended and self.refunds_requested and not self.queue.machine.unfinished_refunds(1)

    async def _until_done(self) -> None:
        while not self._is_done:  # noqa: ASYNC110 - what is done is spread over four machines, none of which tells
            await asyncio.sleep(0.01)

    def check(self) -> None:
        """Promises 1 to 4: one end for each order, everybody knows the same, and what was given is taken back once."""
        assert self.trap.left == [], f"{self.trap.left} was never reached"
        assert self.queue.conflicts == 0
        approved = set()
        for number in ORDERS:
            record = self._record(number)
            assert record.state is not OrderState.PENDING
            if record.state is OrderState.APPROVED:
                approved.add(number)
            else:
                assert [reason.code for reason in record.reasons] == [
                    "payment_declined" if number == DECLINED else "out_of_stock"
                ]
        assert approved in ({1, 3, 5}, {1, 4, 5})
        for title, copies in STOCK.items():
            entry = self.database.machine.get(stock_key(title))
            assert isinstance(entry, Entry)
            assert (entry.value, entry.reserved) == (copies if title != LOST else 0, 0)
        payments = {key: entry.payment for key, entry in self.payment.journal.items()}
        refunded = {key for key, one in payments.items() if one is not None and one.state is PaymentState.REFUNDED}
        held = {key for key, one in payments.items() if one is not None and one.state is PaymentState.AUTHORISED}
        assert refunded == {order_id(number) for number in approved}
        assert held == set()
        for number in approved:
            record, payment = self._record(number), payments[order_id(number)]
            assert payment is not None
            assert record.confirmation_code == payment.confirmation_code
            assert record.refund is not None
            assert record.refund.refund_code == payment.refund_code != ""
            assert payment.charge.amount_cents == PRICE_CENTS


def sweep(points: Sequence[Point]) -> None:
    loop = SimulatedLoop()
    system: list[System] = []

    async def run() -> None:
        system.append(System(points))
        await system[0].run()

    task = loop.create_task(run())
    loop.run_until(VIRTUAL_S_MAX * 1_000_000)
    assert task.done(), f"not all orders have ended after {VIRTUAL_S_MAX} s"
    task.result()
    system[0].check()


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash_breaks_no_promise(point: Point) -> None:
    sweep([point])


@pytest.mark.slow
@pytest.mark.parametrize("first", POINTS, ids=str)
def test_two_crashes_break_no_promise(first: Point) -> None:
    for second in POINTS:
        try:
            sweep([first, second])
        except AssertionError as error:
            raise AssertionError(f"{first} and then {second}: {error}") from error
