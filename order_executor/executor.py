"""Follows the election: while this node leads, and is ready to, it does the leader's work; otherwise nothing."""

import asyncio
from collections.abc import Mapping

from order_executor.decision_log import DecisionLog, resolve
from order_executor.leadership import Leadership
from order_executor.ports import OrderQueue, Participant, ReplicatedLog
from utils.observe.logging import get_logger
from utils.two_phase_commit.messages import Attempt, Resolution

log = get_logger()


class EpochReturnedError(Exception):
    """This node leads again in a term in which it had stopped to.

    A disk that was full for a moment can do that. Attempts of the epoch were forgotten with its end, and numbers given
    twice would break the fence, so the process ends: after a restart a node leads in a higher term or not at all.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch {epoch} had ended here, and came back")
        self.epoch = epoch


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
        self._epoch_ended = 0

    @property
    def orders_in_flight(self) -> int:
        return 0 if self._leadership is None else self._leadership.orders_in_flight

    async def run(self) -> None:
        """Until it is cancelled. Raises EpochReturnedError; any exception ends the process, and others take over."""
        while True:
            status = self._node.status
            if status.ready:
                if status.term <= self._epoch_ended:
                    raise EpochReturnedError(status.term)
                await self._lead(status.term)
                self._epoch_ended = status.term
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
