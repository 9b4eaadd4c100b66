"""The ledger's one owner: carries out requests in batches, journals each batch, and only then answers.

While one batch is being written, the next gathers: the busier, the fewer syncs per order (group commit). Reads take the
same way and read the journal, so that nobody sees what a power cut could take back.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from payment.journal import Journal, JournalFullError
from payment.ledger import Ledger, LedgerEntry, Payment
from utils.clocks.story import PAYMENT, Story, tell, unpack_clock
from utils.observe.logging import get_logger
from utils.rpc.errors import FailedPrecondition, ResourceExhausted, Unavailable
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Compensation,
    Decision,
    Transaction,
    Vote,
)

log = get_logger()

REQUESTS_WAITING_MAX = 4_096

_T = TypeVar("_T")


class _Request(msgspec.Struct):
    # Of the ledger, before its batch is written.
    run: Callable[[], Any]
    # Of the journal, after that: if there is one, it has the answer.
    read: Callable[[], Any] | None
    answer: asyncio.Future[Any]


class DurableLedger:
    """A DurableParticipant (utils.two_phase_commit.io.participant_servicer). Belongs to one event loop."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        """Takes over what the journal holds."""
        self._ledger = ledger
        self._journal = journal
        self._ledger.restore(*journal.load())
        self._requests: list[_Request] = []
        self._requested = asyncio.Event()
        self._ended = False

    @property
    def in_doubt(self) -> tuple[Attempt, ...]:
        """Authorised attempts whose decision is not known here."""
        return self._ledger.in_doubt

    async def prepare(
        self, transactions: Sequence[Transaction], finished_below: int, *, timeout_s: float
    ) -> list[Vote]:
        def run() -> list[Vote]:
            self._ledger.finish_below(finished_below)
            return [self._ledger.prepare(transaction) for transaction in transactions]

        return await self._ask(run, timeout_s)

    async def decide(self, decisions: Sequence[Decision], *, timeout_s: float) -> list[Acknowledgement]:
        return await self._ask(lambda: [self._ledger.decide(decision) for decision in decisions], timeout_s)

    async def compensate(self, compensation: Compensation, *, timeout_s: float) -> Compensated:
        """Refunds a captured payment, once, however long ago it was. Raises FailedPrecondition for any other."""
        order_id = compensation.order_id
        entry = await self._look_up(lambda: self._journal.entry(order_id), timeout_s)
        if entry is None or entry.payment is None or not entry.payment.was_captured:
            raise FailedPrecondition(f"nothing was captured for order {order_id}")
        captured_cents = entry.payment.charge.amount_cents
        if captured_cents != compensation.amount_cents:
            amounts = f"{captured_cents} cents were captured, not {compensation.amount_cents}"
            raise FailedPrecondition(f"for order {order_id} {amounts}")
        code = await self._ask(lambda: self._ledger.refund(entry), timeout_s)
        return Compensated(code, tell((), PAYMENT, "refunded", unpack_clock(compensation.clock)))

    async def story(self, order_id: str, timeout_s: float) -> Story:
        """What has happened to an order here, as far as it is remembered."""
        return await self._ask(lambda: self._ledger.story(order_id), timeout_s)

    async def payment(self, order_id: str, *, timeout_s: float) -> Payment | None:
        """None for an order that was never prepared."""
        entry = await self._look_up(lambda: self._journal.entry(order_id), timeout_s)
        return None if entry is None else entry.payment

    async def captures(self, after_order_id: str, captures_max: int, *, timeout_s: float) -> list[tuple[str, Payment]]:
        """In the order of the order ids."""
        return await self._look_up(lambda: self._journal.captures(after_order_id, captures_max), timeout_s)

    async def run(self) -> None:
        """Until cancelled. Ends with an error when the disk fails: then the process must end, and answer nothing."""
        with ThreadPoolExecutor(1, thread_name_prefix="journal") as thread:
            try:
                while True:
                    await self._requested.wait()
                    self._requested.clear()
                    batch, self._requests = self._requests, []
                    await self._carry_out(batch, thread)
            finally:
                self._ended = True
                _fail(self._requests, Unavailable("payment is stopping"))

    async def _ask(self, run: Callable[[], _T], timeout_s: float) -> _T:
        """What `run` says of the ledger, once the journal has all that it says."""
        answer: _T = await self._answer(run, None, timeout_s)
        return answer

    async def _look_up(self, read: Callable[[], _T], timeout_s: float) -> _T:
        """What `read` finds in the journal, in the thread that writes it."""
        answer: _T = await self._answer(lambda: None, read, timeout_s)
        return answer

    async def _answer(self, run: Callable[[], Any], read: Callable[[], Any] | None, timeout_s: float) -> Any:
        if self._ended:
            raise Unavailable("payment is stopping")
        if len(self._requests) >= REQUESTS_WAITING_MAX:
            raise ResourceExhausted(f"{REQUESTS_WAITING_MAX} requests are waiting")
        request = _Request(run, read, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._requested.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await request.answer
        except TimeoutError:
            raise Unavailable("the journal did not answer in time") from None

    async def _carry_out(self, batch: list[_Request], thread: ThreadPoolExecutor) -> None:
        finished_below = self._ledger.finished_below
        try:
            answers = [request.run() for request in batch]
            changes = self._ledger.take_changes()
            if changes or self._ledger.finished_below != finished_below:
                await self._write(changes, thread)
            reads = {index: request.read for index, request in enumerate(batch) if request.read is not None}
            if reads:
                answers = await asyncio.get_running_loop().run_in_executor(thread, _read, answers, reads)
        except JournalFullError as error:
            log.warning("the disk is full", orders=len(changes), error=str(error))
            # The ledger is ahead of the journal: it goes back to what is durable.
            self._ledger.restore(*self._journal.load())
            _fail(batch, ResourceExhausted("payment's disk is full"))
            return
        except BaseException:
            _fail(batch, Unavailable("payment is stopping"))
            raise
        for request, answer in zip(batch, answers, strict=True):
            if not request.answer.done():
                request.answer.set_result(answer)

    async def _write(self, changes: list[LedgerEntry], thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(thread, self._journal.write, changes, self._ledger.finished_below)


def _read(answers: list[Any], reads: Mapping[int, Callable[[], Any]]) -> list[Any]:
    return [reads[index]() if index in reads else answer for index, answer in enumerate(answers)]


def _fail(requests: Sequence[_Request], error: Exception) -> None:
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(error)
