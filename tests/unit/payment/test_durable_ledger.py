"""No answer leaves before the journal has it."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from payment import durable_ledger
from payment.durable_ledger import DurableLedger
from payment.journal import Journal, JournalFullError
from payment.ledger import Ledger, LedgerEntry, Luck, PaymentState
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit, compensation, order_id, transaction
from utils.rpc.errors import FailedPrecondition, ResourceExhausted, Unavailable
from utils.two_phase_commit.messages import Acknowledgement, Vote, VoteKind

LUCK = Luck("seed", 1.0, 1.0)


class HeldJournal(Journal):
    """Writes only while its gate is open, and counts. `error` is raised instead of the next write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[int] = []
        self.error: Exception | None = None

    def write(self, entries: Iterable[LedgerEntry], finished_below: int) -> None:
        self.entered.set()
        assert self.gate.wait(20)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        entries = list(entries)
        super().write(entries, finished_below)
        self.batches.append(len(entries))


@pytest.fixture
def journal(tmp_path: Path) -> HeldJournal:
    return HeldJournal(tmp_path / "payment.sqlite")


@contextlib.asynccontextmanager
async def running(journal: HeldJournal) -> AsyncIterator[DurableLedger]:
    ledger = DurableLedger(Ledger(LUCK), journal)
    task = asyncio.create_task(ledger.run())
    try:
        yield ledger
    finally:
        journal.gate.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, sqlite3.Error):
            await task
        journal.close()


def prepare(ledger: DurableLedger, *orders: int, timeout_s: float = 20) -> asyncio.Task[list[Vote]]:
    transactions = [transaction(attempt(order=order)) for order in orders]
    return asyncio.create_task(ledger.prepare(transactions, 0, timeout_s=timeout_s))


async def test_a_vote_leaves_only_once_it_is_journalled(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        journal.gate.clear()
        vote = prepare(ledger, 1)
        await asyncio.to_thread(journal.entered.wait, 20)
        assert not vote.done()
        assert journal.load() == ([], 0)
        journal.gate.set()
        assert [answer.kind for answer in await vote] == [VoteKind.COMMIT]
        ((entry,), _) = journal.load()
        assert entry.record.attempt == attempt()


async def test_an_acknowledgement_leaves_only_once_it_is_journalled(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        await prepare(ledger, 1)
        journal.gate.clear()
        journal.entered.clear()
        done = asyncio.create_task(ledger.decide([commit(attempt())], timeout_s=20))
        await asyncio.to_thread(journal.entered.wait, 20)
        assert not done.done()
        journal.gate.set()
        assert [answer.done for answer in await done] == [True]


async def test_a_read_sees_nothing_that_a_power_cut_could_take_back(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        journal.gate.clear()
        vote = prepare(ledger, 1)
        read = asyncio.create_task(ledger.payment(order_id(1), timeout_s=20))
        await asyncio.to_thread(journal.entered.wait, 20)
        assert not read.done()
        journal.gate.set()
        await vote
        payment = await read
        assert payment is not None
        assert payment.state is PaymentState.AUTHORISED


async def test_what_comes_during_a_write_is_written_together(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        journal.gate.clear()
        first = prepare(ledger, 1)
        await asyncio.to_thread(journal.entered.wait, 20)
        others = [prepare(ledger, order) for order in range(2, 30)]
        for _ in range(2):
            await asyncio.sleep(0)
        journal.gate.set()
        await asyncio.gather(first, *others)
        assert journal.batches == [1, 28]


async def test_a_repeated_question_writes_nothing(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        first = await prepare(ledger, 1)
        assert await prepare(ledger, 1) == first
        assert journal.batches == [1]


async def test_the_watermark_is_journalled_with_the_votes(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        votes = await ledger.prepare([transaction(attempt())], 100, timeout_s=20)
        assert [vote.kind for vote in votes] == [VoteKind.REFUSED]
        assert journal.load() == ([], 100)


async def test_a_restart_gives_the_same_vote_and_the_same_code(journal: HeldJournal, tmp_path: Path) -> None:
    async with running(journal) as ledger:
        votes = await prepare(ledger, 1, 2)
        codes = await ledger.decide([commit(attempt(order=1))], timeout_s=20)
    async with running(HeldJournal(tmp_path / "payment.sqlite")) as again:
        assert again.in_doubt == (attempt(order=2),)
        assert (await prepare(again, 2)) == votes[1:]
        assert await again.decide([commit(attempt(order=1))], timeout_s=20) == codes
        assert len(await again.captures("", 10, timeout_s=20)) == 1


async def test_a_full_disk_refuses_and_promises_nothing(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        await prepare(ledger, 1)
        journal.error = JournalFullError("database or disk is full")
        with pytest.raises(ResourceExhausted):
            await prepare(ledger, 2)
        assert ledger.in_doubt == (attempt(order=1),), "what was not written was not forgotten"
        assert [vote.kind for vote in await prepare(ledger, 2)] == [VoteKind.COMMIT]
        assert journal.batches == [1, 1]


async def test_a_failing_disk_ends_the_ledger_without_an_answer(journal: HeldJournal) -> None:
    ledger = DurableLedger(Ledger(LUCK), journal)
    task = asyncio.create_task(ledger.run())
    journal.error = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(Unavailable):
        await prepare(ledger, 1)
    with pytest.raises(sqlite3.OperationalError):
        await task
    with pytest.raises(Unavailable):
        await prepare(ledger, 1)
    journal.close()


async def test_a_caller_that_gives_up_leaves_no_trace_that_harms_others(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        journal.gate.clear()
        impatient = prepare(ledger, 1)
        await asyncio.to_thread(journal.entered.wait, 20)
        impatient.cancel()
        patient = prepare(ledger, 2)
        journal.gate.set()
        assert [vote.kind for vote in await patient] == [VoteKind.COMMIT]
        assert [vote.kind for vote in await prepare(ledger, 1)] == [VoteKind.COMMIT]


async def test_a_write_that_takes_too_long_is_no_answer(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        journal.gate.clear()
        with pytest.raises(Unavailable):
            await prepare(ledger, 1, timeout_s=0.01)


async def test_requests_that_wait_are_bounded(journal: HeldJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_ledger, "REQUESTS_WAITING_MAX", 2)
    async with running(journal) as ledger:
        journal.gate.clear()
        waiting = [prepare(ledger, 1)]
        await asyncio.to_thread(journal.entered.wait, 20)
        waiting += [prepare(ledger, 2), prepare(ledger, 3)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted):
            await prepare(ledger, 4)
        journal.gate.set()
        await asyncio.gather(*waiting)


async def captured(ledger: DurableLedger, *, order: int) -> Acknowledgement:
    await prepare(ledger, order)
    (acknowledgement,) = await ledger.decide([commit(attempt(order=order))], timeout_s=20)
    return acknowledgement


async def test_what_was_captured_is_refunded_once_and_then_always_answered_alike(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        acknowledgement = await captured(ledger, order=1)
        first, second = await asyncio.gather(*(ledger.compensate(compensation(order=1), timeout_s=20) for _ in "ab"))
        assert first == second
        assert first.refund_code
        batches = len(journal.batches)
        assert await ledger.compensate(compensation(order=1), timeout_s=20) == first
        assert len(journal.batches) == batches, "refunded twice"
        # The commit stands, and is answered as ever.
        (again,) = await ledger.decide([commit(attempt(order=1))], timeout_s=20)
        assert again.confirmation_code == acknowledgement.confirmation_code
        payment = await ledger.payment(order_id(1), timeout_s=20)
        assert payment is not None
        assert (payment.state, payment.refund_code) == (PaymentState.REFUNDED, first.refund_code)
        assert payment.confirmation_code == acknowledgement.confirmation_code


async def test_a_refund_leaves_only_once_it_is_journalled(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        await captured(ledger, order=1)
        journal.gate.clear()
        journal.entered.clear()
        refund = asyncio.create_task(ledger.compensate(compensation(order=1), timeout_s=20))
        await asyncio.to_thread(journal.entered.wait, 20)
        entry = journal.entry(order_id(1))
        assert entry is not None
        assert entry.payment is not None
        assert (refund.done(), entry.payment.state) == (False, PaymentState.CAPTURED)
        journal.gate.set()
        await refund


async def test_a_capture_of_long_ago_is_refunded_from_its_row(journal: HeldJournal, tmp_path: Path) -> None:
    async with running(journal) as ledger:
        await captured(ledger, order=1)
        # Every order of this test is below.
        await ledger.prepare([], 1_000, timeout_s=20)
        journal.error = JournalFullError("database or disk is full")
        with pytest.raises(ResourceExhausted):
            await ledger.compensate(compensation(order=1), timeout_s=20)
        first = await ledger.compensate(compensation(order=1), timeout_s=20)
    async with running(HeldJournal(tmp_path / "payment.sqlite")) as again:
        assert await again.compensate(compensation(order=1), timeout_s=20) == first


async def test_what_was_not_captured_is_not_refunded(journal: HeldJournal) -> None:
    async with running(journal) as ledger:
        await prepare(ledger, 1, 2)
        await ledger.decide([abort(attempt(order=2))], timeout_s=20)
        batches = len(journal.batches)
        for order in (1, 2, 3):
            with pytest.raises(FailedPrecondition, match="nothing was captured"):
                await ledger.compensate(compensation(order=order), timeout_s=20)
        await ledger.decide([commit(attempt(order=1))], timeout_s=20)
        with pytest.raises(FailedPrecondition, match="2500 cents were captured, not 2499"):
            await ledger.compensate(compensation(order=1, amount_cents=2_499), timeout_s=20)
        assert len(journal.batches) == batches + 1
        payment = await ledger.payment(order_id(1), timeout_s=20)
        assert payment is not None
        assert payment.state is PaymentState.CAPTURED
