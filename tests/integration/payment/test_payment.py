"""Payment as it is deployed: a process that is asked, told, killed and started again."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.payment.payment_process import (
    TIMEOUT_S,
    PaymentProcess,
    executor_double,
    payment_process,
)
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit, compensation, order_id, transaction
from utils.pb import payment_pb2 as pb
from utils.rpc.errors import FailedPrecondition, InvalidArgument, NotFound
from utils.two_phase_commit.messages import Acknowledgement, ResolutionKind, VoteKind


async def state(process: PaymentProcess, order: int) -> pb.GetPaymentResponse.State.ValueType:
    response = await process.payments.GetPayment(pb.GetPaymentRequest(order_id=order_id(order)), timeout=TIMEOUT_S)
    return response.state


async def captures(process: PaymentProcess) -> list[tuple[str, int, str]]:
    response = await process.payments.ListCaptures(pb.ListCapturesRequest(), timeout=TIMEOUT_S)
    return [(item.order_id, item.amount_cents, item.confirmation_code) for item in response.captures]


async def test_a_vote_survives_kill_9_and_so_do_captures(tmp_path: Path) -> None:
    orders = [transaction(attempt(order=order), amount_cents=100 * order) for order in range(1, 21)]
    # Whether an order is declined is drawn again by nobody after the restart: its luck is turned round meanwhile.
    async with payment_process(tmp_path, PAYMENT_CARD_SUCCESS_RATE="0.5") as process:
        votes = await process.prepare(*orders)
        kinds = [vote.kind for vote in votes]
        assert {VoteKind.COMMIT, VoteKind.ABORT} == set(kinds), "this seed proves nothing"
        approved = [of.attempt for of, kind in zip(orders, kinds, strict=True) if kind is VoteKind.COMMIT]
        codes = await process.decide(commit(approved[0]))
        await process.kill()
    async with payment_process(tmp_path, PAYMENT_CARD_SUCCESS_RATE="0") as again:
        repeated = await again.prepare(*orders)
        assert repeated[0].kind is not None
        for before, after in zip(votes, repeated, strict=True):
            if before.attempt == approved[0]:
                assert (after.kind, after.other_attempt) == (VoteKind.ALREADY_COMMITTED, approved[0])
            else:
                assert after == before
        assert await again.decide(commit(approved[0])) == codes
        done = await again.decide(*(commit(of) for of in approved))
        assert all(item.done for item in done)
        charged = {of.attempt.order_id: of.amount_cents for of in orders if of.attempt in approved}
        assert {order: cents for order, cents, _ in await captures(again)} == charged


async def test_killed_while_it_votes_it_has_said_nothing_that_it_does_not_keep(tmp_path: Path) -> None:
    async with payment_process(tmp_path) as process:
        await process.prepare(transaction(attempt(order=1)))
        asked = [asyncio.create_task(process.prepare(transaction(attempt(order=order)))) for order in range(2, 200)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        await process.kill()
        told = [votes.result()[0].attempt for votes in asked if votes.done()]
        assert told
        await process.start()
        # The rest ask on, and are answered after the restart.
        await asyncio.gather(*asked)
        assert all(item.done for item in await process.decide(*(commit(of) for of in told)))


async def test_in_doubt_it_asks_for_its_exact_attempt(tmp_path: Path) -> None:
    async with (
        executor_double() as (executor, address),
        payment_process(tmp_path, ORDER_EXECUTOR=address, IN_DOUBT_S="0.2") as process,
    ):
        executor.known = {attempt(3, order=1): ResolutionKind.COMMITTED, attempt(order=2): ResolutionKind.ABORTED}
        await process.prepare(*(transaction(of) for of in (attempt(3, order=1), attempt(order=2), attempt(order=3))))
        async with asyncio.timeout(TIMEOUT_S):
            # Asked a second time about the third: the other two are settled, or it would ask about them, too.
            asked = [await executor.asked.get() for _ in range(4)]
        assert set(asked[:3]) == {attempt(3, order=1), attempt(order=2), attempt(order=3)}
        assert asked[3] == attempt(order=3)
        assert await state(process, 1) == pb.GetPaymentResponse.STATE_CAPTURED
        assert await state(process, 2) == pb.GetPaymentResponse.STATE_VOIDED
        assert await state(process, 3) == pb.GetPaymentResponse.STATE_AUTHORISED


async def test_its_answers_are_those_of_the_protocol(tmp_path: Path) -> None:
    async with payment_process(tmp_path) as process:
        await process.prepare(transaction(attempt(), amount_cents=4_999))
        response = await process.payments.GetPayment(pb.GetPaymentRequest(order_id=order_id(1)), timeout=TIMEOUT_S)
        assert (response.order_id, response.amount_cents, response.confirmation_code) == (order_id(1), 4_999, "")
        assert response.state == pb.GetPaymentResponse.STATE_AUTHORISED
        assert (response.attempt.epoch, response.attempt.number) == (1, 1)
        assert await process.decide(commit(attempt(2))) == [Acknowledgement(attempt(2), done=False)]
        (done,) = await process.decide(commit(attempt()))
        assert await captures(process) == [(order_id(1), 4_999, done.confirmation_code)]
        await process.decide(abort(attempt(2)))
        assert await state(process, 1) == pb.GetPaymentResponse.STATE_CAPTURED
        with pytest.raises(NotFound):
            await state(process, 9)
        with pytest.raises(InvalidArgument):
            await process.prepare()
        assert await process.stop() == 0
        assert '"a decision contradicts what this participant knows"' in await process.log()


async def test_a_refund_survives_kill_9(tmp_path: Path) -> None:
    async with payment_process(tmp_path) as process:
        await process.prepare(transaction(attempt(order=1)), transaction(attempt(order=2)))
        await process.decide(commit(attempt(order=1)))
        refunded = await process.compensate(compensation(order=1))
        assert refunded.refund_code
        await process.kill()
        await process.start()
        assert await process.compensate(compensation(order=1)) == refunded
        assert await state(process, 1) == pb.GetPaymentResponse.STATE_REFUNDED
        response = await process.payments.ListCaptures(pb.ListCapturesRequest(), timeout=TIMEOUT_S)
        assert [(item.order_id, item.refund_code) for item in response.captures] == [
            (order_id(1), refunded.refund_code)
        ]
        with pytest.raises(FailedPrecondition):
            await process.compensate(compensation(order=2))


async def test_it_does_not_start_with_a_wrong_setting_or_a_damaged_journal(tmp_path: Path) -> None:
    async with payment_process(tmp_path, PAYMENT_CARD_SUCCESS_RATE="1.5") as process:
        assert process._process is not None
        assert await process._process.wait() == 2
        assert "PAYMENT_CARD_SUCCESS_RATE must be from 0 to 1" in await process.log()
    (tmp_path / "payment.sqlite").write_bytes(b"not a journal" * 100)
    async with payment_process(tmp_path) as process:
        assert process._process is not None
        assert await process._process.wait() == 1
        assert "payment.sqlite is damaged" in await process.log()
