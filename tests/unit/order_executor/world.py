"""What surrounds an executor, in one process: a queue, and participants with real cores."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from order_executor.ports import Claimed, ClaimedOrder, OrderResult, UnfinishedRefund
from utils.clocks.story import Story
from utils.domain.order import PaymentInstrument, PaymentMethod, PricedItem, QueuedOrder, Reason
from utils.rpc.errors import FailedPrecondition, InvalidArgument, Unavailable
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Compensation,
    Decision,
    Transaction,
    Vote,
    VoteKind,
)
from utils.two_phase_commit.participant import Participant, Phase, Verdict

PRICE_CENTS = 1_000
WAIT_S = 20.0

Message = Transaction | Decision
Listener = Callable[[str, Sequence[Message]], Awaitable[None]]


def order_id(number: int) -> str:
    return f"{number:032x}"


def queued_order(number: int, quantity: int = 1, title: str = "Book A") -> QueuedOrder:
    return QueuedOrder(
        order_id=order_id(number),
        items=(PricedItem(title, quantity, PRICE_CENTS),),
        shipping_cents=0,
        amount_cents=PRICE_CENTS * quantity,
        instrument=PaymentInstrument(PaymentMethod.CARD, "visa", "1111"),
    )


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Lets everybody run until `holds`; after WAIT_S the test fails."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - what holds is spread over many objects, none of which tells
            await asyncio.sleep(0.002)
    assert holds(), what


class Shelf:
    """The database's business: copies are reserved, sold or given back."""

    def __init__(self, stock: dict[str, int]) -> None:
        self.stock = stock
        self.reserved: dict[str, dict[str, int]] = {}
        self.sold: dict[str, dict[str, int]] = {}
        self.restocked: set[str] = set()

    def hold(self, attempt: Attempt, work: Transaction) -> Verdict:
        wanted = {item.title: item.quantity for item in work.items}
        for title, quantity in wanted.items():
            held = sum(copies.get(title, 0) for copies in self.reserved.values())
            if quantity > self.stock.get(title, 0):
                return Verdict(VoteKind.ABORT, (Reason("out_of_stock", f"{title} is sold out."),))
            if quantity > self.stock[title] - held:
                return Verdict(VoteKind.BUSY)
        self.reserved[attempt.order_id] = wanted
        return Verdict(VoteKind.COMMIT)

    def commit(self, attempt: Attempt, work: Transaction) -> str:
        wanted = self.reserved.pop(attempt.order_id)
        for title, quantity in wanted.items():
            self.stock[title] -= quantity
        assert attempt.order_id not in self.sold
        self.sold[attempt.order_id] = wanted
        return ""

    def release(self, attempt: Attempt, work: Transaction) -> None:
        del self.reserved[attempt.order_id]

    def compensate(self, order_id: str) -> Compensated:
        if order_id not in self.sold:
            raise FailedPrecondition("nothing was sold")
        if order_id not in self.restocked:
            self.restocked.add(order_id)
            for title, quantity in self.sold[order_id].items():
                self.stock[title] += quantity
        return Compensated()


class Till:
    """Payment's business: amounts are held, captured or voided; some customers' are declined."""

    def __init__(self, declined: frozenset[str] = frozenset()) -> None:
        self.declined = declined
        self.held: dict[str, int] = {}
        self.captured: dict[str, int] = {}
        self.refunded: set[str] = set()

    def hold(self, attempt: Attempt, work: Transaction) -> Verdict:
        if attempt.order_id in self.declined:
            return Verdict(VoteKind.ABORT, (Reason("payment_declined", "The card was declined."),))
        self.held[attempt.order_id] = work.amount_cents
        return Verdict(VoteKind.COMMIT)

    def commit(self, attempt: Attempt, work: Transaction) -> str:
        assert attempt.order_id not in self.captured
        self.captured[attempt.order_id] = self.held.pop(attempt.order_id)
        return f"CODE-{attempt.order_id[-4:]}"

    def release(self, attempt: Attempt, work: Transaction) -> None:
        del self.held[attempt.order_id]

    def compensate(self, order_id: str) -> Compensated:
        if order_id not in self.captured:
            raise FailedPrecondition("nothing was captured")
        self.refunded.add(order_id)
        return Compensated(f"REF-{order_id[-4:]}")


class ParticipantDouble:
    """A real participant core whose journal is this object: it survives its `away`, and what listeners do."""

    def __init__(self, business: Shelf | Till) -> None:
        self.business = business
        self.core: Participant[Transaction] = Participant(business, host=type(business).__name__)
        self.is_away = False
        self.calls = 0
        self.heard: list[Message] = []
        # Called with "prepare" or "decide" and what came: before it is acted on, and before the answer leaves.
        self.on_arrival: Listener | None = None
        self.on_answer: Listener | None = None
        # Likewise, with the order's id.
        self.on_compensation: Callable[[str], Awaitable[None]] | None = None
        self.on_compensated: Callable[[str], Awaitable[None]] | None = None
        self.poison: frozenset[str] = frozenset()

    async def prepare(self, transactions: Sequence[Transaction], finished_below: int) -> list[Vote]:
        await self._arrive("prepare", transactions)
        self.core.finish_below(finished_below)
        self.core.prune()
        if self.poison & {transaction.attempt.order_id for transaction in transactions}:
            raise InvalidArgument("one of these cannot be understood")
        votes = [
            self.core.prepare(transaction.attempt, transaction.position, transaction, transaction.clock)
            for transaction in transactions
        ]
        await self._answer("prepare", transactions)
        return votes

    async def decide(self, decisions: Sequence[Decision]) -> list[Acknowledgement]:
        await self._arrive("decide", decisions)
        acknowledgements = [self.core.decide(decision) for decision in decisions]
        await self._answer("decide", decisions)
        return acknowledgements

    async def compensate(self, compensation: Compensation) -> Compensated:
        await asyncio.sleep(0.001)
        if self.on_compensation is not None:
            await self.on_compensation(compensation.order_id)
        if self.is_away:
            raise Unavailable("away")
        compensated = self.business.compensate(compensation.order_id)
        if self.on_compensated is not None:
            await self.on_compensated(compensation.order_id)
        return compensated

    def phases(self) -> dict[str, Phase]:
        return {order_id: record.phase for order_id, record in self.core.records.items()}

    async def _arrive(self, method: str, messages: Sequence[Message]) -> None:
        self.calls += 1
        await asyncio.sleep(0.001)
        if self.on_arrival is not None:
            await self.on_arrival(method, messages)
        if self.is_away:
            raise Unavailable("away")
        self.heard += messages

    async def _answer(self, method: str, messages: Sequence[Message]) -> None:
        if self.on_answer is not None:
            await self.on_answer(method, messages)
        if self.is_away:
            raise Unavailable("went away before it answered")


class QueueDouble:
    """Hands out by quantity, then arrival; a poll's held orders are the claims; the first result wins."""

    def __init__(self) -> None:
        self.orders: dict[str, ClaimedOrder] = {}
        self.results: dict[str, OrderResult] = {}
        self.conflicts: list[OrderResult] = []
        self.polls: list[frozenset[str]] = []
        self.handed_out: list[str] = []
        self.highest_epoch = 0
        self.is_away = False
        self.forgets_claims = False
        self.on_complete: Callable[[Sequence[OrderResult]], Awaitable[None]] | None = None
        self.on_complete_refund: Callable[[str], Awaitable[None]] | None = None
        # The code of each that is done.
        self.refunds: dict[str, str | None] = {}
        self.lost_copies: set[str] = set()
        self._arrived = asyncio.Event()
        self._requested = asyncio.Event()

    def put(self, *orders: QueuedOrder) -> None:
        for order in orders:
            self.orders[order.order_id] = ClaimedOrder(order, len(self.orders) + 1)
        self._arrived.set()

    @property
    def is_done(self) -> bool:
        return self.results.keys() >= self.orders.keys()

    async def dequeue(self, epoch: int, held_order_ids: Sequence[str], max_orders: int, wait_s: float) -> Claimed:
        await asyncio.sleep(0.001)
        if self.is_away:
            raise Unavailable("away")
        if epoch < self.highest_epoch:
            raise FailedPrecondition("this epoch is over")
        assert max_orders > 0
        self.highest_epoch = epoch
        claims = frozenset(held_order_ids)
        self.polls.append(claims)
        if self.forgets_claims:
            claims = frozenset()
        self._arrived.clear()
        free = self._free(claims)
        if not free:
            try:
                async with asyncio.timeout(wait_s):
                    await self._arrived.wait()
            except TimeoutError:
                return self._claimed([])
            free = self._free(claims)
        chosen = sorted(free, key=lambda claimed: (-claimed.order.quantity, claimed.position))[:max_orders]
        self.handed_out += [claimed.order.order_id for claimed in chosen]
        return self._claimed(chosen)

    def _claimed(self, orders: Sequence[ClaimedOrder]) -> Claimed:
        pending = [order.position for order in self.orders.values() if order.order.order_id not in self.results]
        return Claimed(orders, min(pending, default=len(self.orders) + 1))

    async def complete(self, results: Sequence[OrderResult]) -> Sequence[None]:
        if self.on_complete is not None:
            await self.on_complete(results)
        await asyncio.sleep(0.001)
        if self.is_away:
            raise Unavailable("away")
        for result in results:
            first = self.results.setdefault(result.order_id, result)
            if (first.approved, first.confirmation_code, first.reasons) != (
                result.approved, result.confirmation_code, result.reasons,
            ):  # fmt: skip
                self.conflicts.append(result)
        return [None] * len(results)

    def request_refund(self, order_id: str, *, restock: bool = True) -> None:
        self.refunds.setdefault(order_id, None)
        if not restock:
            self.lost_copies.add(order_id)
        self._requested.set()

    async def poll_refunds(
        self, held_order_ids: Sequence[str], max_refunds: int, wait_s: float
    ) -> list[UnfinishedRefund]:
        await asyncio.sleep(0.001)
        if self.is_away:
            raise Unavailable("away")
        self._requested.clear()
        if not (found := self._unfinished_refunds(held_order_ids)):
            try:
                async with asyncio.timeout(wait_s):
                    await self._requested.wait()
            except TimeoutError:
                return []
            found = self._unfinished_refunds(held_order_ids)
        return found[:max_refunds]

    async def complete_refund(self, order_id: str, refund_code: str, story: Story) -> None:
        if self.on_complete_refund is not None:
            await self.on_complete_refund(order_id)
        await asyncio.sleep(0.001)
        if self.is_away:
            raise Unavailable("away")
        assert self.refunds[order_id] in (None, refund_code)
        self.refunds[order_id] = refund_code

    def _unfinished_refunds(self, held_order_ids: Sequence[str]) -> list[UnfinishedRefund]:
        return [
            UnfinishedRefund(
                Compensation(order_id, claimed.position, claimed.order.items, claimed.order.amount_cents),
                order_id not in self.lost_copies,
            )
            for order_id, code in self.refunds.items()
            if code is None and order_id not in held_order_ids
            for claimed in (self.orders[order_id],)
        ]

    def _free(self, claims: frozenset[str]) -> list[ClaimedOrder]:
        return [
            claimed
            for order_id, claimed in self.orders.items()
            if order_id not in claims and order_id not in self.results
        ]


class World:
    """The queue and the participants, and what must hold of them."""

    def __init__(self, stock: dict[str, int] | None = None, declined: Sequence[int] = ()) -> None:
        self.initial_stock = dict(stock or {"Book A": 1_000})
        self.shelf = Shelf(dict(self.initial_stock))
        self.till = Till(frozenset(order_id(number) for number in declined))
        self.database = ParticipantDouble(self.shelf)
        self.payment = ParticipantDouble(self.till)
        self.queue = QueueDouble()

    def assert_books_agree(self) -> None:
        """All orders have ended, and everybody knows the same ends: promises 2, 3 and 4."""
        assert self.queue.is_done
        assert self.queue.conflicts == []
        assert self.shelf.reserved == {}
        assert self.till.held == {}
        approved = {order_id for order_id, result in self.queue.results.items() if result.approved}
        assert self.shelf.sold.keys() == approved
        assert self.till.captured == {order_id: self.queue.orders[order_id].order.amount_cents for order_id in approved}
        assert self.till.refunded == {order_id for order_id, code in self.queue.refunds.items() if code is not None}
        assert self.shelf.restocked == self.till.refunded - self.queue.lost_copies
        for title, initial in self.initial_stock.items():
            gone = self.shelf.sold.keys() - self.shelf.restocked
            sold = sum(self.shelf.sold[order_id].get(title, 0) for order_id in gone)
            assert self.shelf.stock[title] == initial - sold
            assert self.shelf.stock[title] >= 0
        for result in self.queue.results.values():
            assert bool(result.confirmation_code) is result.approved
            assert bool(result.reasons) is not result.approved
