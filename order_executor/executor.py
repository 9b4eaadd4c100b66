"""Follows the election: while this node leads, and is ready to, it does the leader's work; otherwise nothing."""

import asyncio
from collections.abc import Mapping

from order_executor.decision_log import DecisionLog, resolve
from order_executor.leadership import Leadership
from order_executor.ports import OrderQueue, Participant, ReplicatedLog
from utils.observe.logging import get_logger
from utils.two_phase_commit.messages import Attempt, Resolution

log = get_logger()


class Executor:
    """The epoch of a leader is its Raft term. A term that is over is over before the next one starts here."""

    def __init__(
        self,
        *,
        node: ReplicatedLog,
        decisions: DecisionLog,
        queue: OrderQueue,
        participants: Mapping[str, Participant],
        in_flight_max: int,
    ) -> None:
        self._node = node
        self._decisions = decisions
        self._queue = queue
        self._participants = participants
        self._in_flight_max = in_flight_max
        self._leadership: Leadership | None = None

    @property
    def orders_in_flight(self) -> int:
        return 0 if self._leadership is None else self._leadership.orders_in_flight

    async def run(self) -> None:
        """Until it is cancelled. Any exception is a defect, and ends the process: another node takes over."""
        while True:
            status = self._node.status
            if status.ready:
                await self._lead(status.term)
            else:
                await self._node.changed()

    def resolve(self, attempt: Attempt) -> Resolution:
        """The answer to a participant in doubt. Only while the node's status is ready."""
        epoch = self._node.status.term
        leadership = self._leadership
        was_given_up = (
            attempt.epoch == epoch
            and leadership is not None
            and leadership.epoch == epoch
            and leadership.has_given_up(attempt)
        )
        return resolve(attempt, epoch=epoch, log=self._decisions, was_given_up=was_given_up)

    async def _lead(self, epoch: int) -> None:
        self._leadership = Leadership(
            epoch,
            node=self._node,
            decisions=self._decisions,
            queue=self._queue,
            participants=self._participants,
            in_flight_max=self._in_flight_max,
        )
        work = asyncio.create_task(self._leadership.run())
        deposed = asyncio.create_task(self._until_deposed(epoch))
        try:
            await asyncio.wait((work, deposed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            deposed.cancel()
            work.cancel()
            # Nothing of this epoch runs on beside the next one.
            await asyncio.wait((work, deposed))
            self._leadership = None
        if not work.cancelled():
            work.result()
        log.info("no longer leading", epoch=epoch, leader=self._node.status.leader_id)

    async def _until_deposed(self, epoch: int) -> None:
        while self._node.status.ready and self._node.status.term == epoch:
            await self._node.changed()
