"""Carries out the refunds that operators have requested: a saga (Garcia-Molina & Salem 1987) that only goes forward.

Payment refunds, then the database puts the copies back, then the queue hears the end. Nobody votes and nothing is
decided, since the queue's log has the request before anybody acts on it: every step is repeated until it is done. The
queue hands the refund out until then, so that a leader which dies leaves it to the next one, and a step that was done
already is answered as it was the first time. Hence no epoch: a deposed leader that goes on does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from order_executor.ports import OrderQueue, Participant, UnfinishedRefund
from order_executor.retry_policy import POLL, REFUND, REFUND_POLL_WAIT_S
from utils.clocks.story import DATABASE, PAYMENT, last_clock, pack_clock
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.rpc.errors import DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable

log = get_logger()

# At once: operators are people.
REFUNDS_MAX = 16
# Anything else says that this order cannot have been approved, or that somebody has to make room.
_TRANSIENT = (Unavailable, DeadlineExceeded, ResourceExhausted)

_Answer = TypeVar("_Answer")


class Refunds:
    """Of one leader's epoch: its tasks are of that epoch's group, and end with it."""

    def __init__(self, queue: OrderQueue, participants: Mapping[str, Participant], tasks: asyncio.TaskGroup) -> None:
        self._queue = queue
        self._payment, self._database = participants[PAYMENT], participants[DATABASE]
        self._tasks = tasks
        self._held: set[str] = set()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            await self._has_room.wait()
            room = REFUNDS_MAX - len(self._held)
            try:
                refunds = await self._queue.poll_refunds(sorted(self._held), room, REFUND_POLL_WAIT_S)
            except ServiceError as error:
                failures += 1
                if failures.bit_count() == 1:
                    log.warning("the queue cannot be polled for refunds", error=error.message, tries=failures)
                await asyncio.sleep(POLL.pause_s(failures))
                continue
            failures = 0
            for refund in refunds:
                self._hold(refund)

    def _hold(self, refund: UnfinishedRefund) -> None:
        order_id = refund.compensation.order_id
        if order_id in self._held:
            # It was asked for before the queue had heard that it is held.
            return
        self._held.add(order_id)
        if len(self._held) >= REFUNDS_MAX:
            self._has_room.clear()
        self._tasks.create_task(self._carry_out(refund))

    async def _carry_out(self, refund: UnfinishedRefund) -> None:
        asked, order_id = refund.compensation, refund.compensation.order_id
        refunded = await _until_done("refund", order_id, lambda: self._payment.compensate(asked))
        story = refunded.story
        if refund.restock:
            known = msgspec.structs.replace(asked, clock=pack_clock(last_clock(story)))
            restocked = await _until_done("restock", order_id, lambda: self._database.compensate(known))
            story += restocked.story
        code = refunded.refund_code
        await _until_done("complete", order_id, lambda: self._queue.complete_refund(order_id, code, story))
        log.info("refunded", order_id=order_id, refund_code=code, restocked=refund.restock)
        self._held.discard(order_id)
        self._has_room.set()


async def _until_done(step: str, order_id: str, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Repeats the step until it is answered; what time alone does not mend is an alarm, too."""
    tries = 0
    while True:
        try:
            return await call()
        except ServiceError as error:
            tries += 1
            if isinstance(error, _TRANSIENT):
                # A peer that is away for an hour is not worth a line for each try.
                if tries.bit_count() == 1:
                    log.warning(
                        "a step of a refund failed", step=step, order_id=order_id, tries=tries, error=str(error)
                    )
            else:
                count("executor.alarms")
                log.error(  # noqa: TRY400 - the other side's words, not a defect here
                    "alarm: the order cannot be refunded", step=step, order_id=order_id, tries=tries, why=error.message
                )
        await asyncio.sleep(REFUND.pause_s(tries))
