"""Follows the election: while this node leads, and is ready to, it does the leader's work; otherwise nothing."""

import asyncio
from collections.abc import Mapping

from order_executor.leadership import Leadership
from order_executor.ports import Election, OrderQueue, Participant
from utils.clocks.story import Story
from utils.observe.logging import get_logger
from utils.two_phase_commit.decision_log import resolve
from utils.two_phase_commit.messages import Attempt, Resolution

log = get_logger()


class EpochReturnedError(Exception):
    """This node leads again in an epoch in which it had stopped to.

    A disk that was full for a moment can do that. Attempts of the epoch were forgotten with its end, and numbers given
    twice would break the fence, so the process ends: after a restart a node leads in a higher epoch or not at all.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch {epoch} had ended here, and came back")
        self.epoch = epoch


class Executor:
    """An epoch that is over is over before the next one starts here."""

    def __init__(
        self,
        *,
        election: Election,
        queue: OrderQueue,
        participants: Mapping[str, Participant],
        in_flight_max: int,
        rotate_after: int | None = None,
    ) -> None:
        """`rotate_after`: leadership is handed on after so many orders; None: never."""
        self._election = election
        self._queue = queue
        self._participants = participants
        self._in_flight_max = in_flight_max
        self._rotate_after = rotate_after
        self._leadership: Leadership | None = None
        self._epoch_ended = 0
        self._is_retiring = False

    @property
    def orders_in_flight(self) -> int:
        return 0 if self._leadership is None else self._leadership.orders_in_flight

    async def run(self) -> None:
        """Until it is cancelled. Raises EpochReturnedError; any exception ends the process, and others take over."""
        while True:
            status = self._election.status
            if status.ready and not self._is_retiring:
                if status.epoch <= self._epoch_ended:
                    raise EpochReturnedError(status.epoch)
                await self._lead(status.epoch)
                self._epoch_ended = status.epoch
            else:
                await self._election.changed()

    async def retire(self) -> None:
        """Before the process stops: takes no more orders, ends those in hand if that is quick, and hands over."""
        self._is_retiring = True
        if self._leadership is not None:
            await self._leadership.retire()

    def resolve(self, attempt: Attempt) -> Resolution:
        """The answer to a participant in doubt. Only while the node's status is ready."""
        epoch = self._election.status.epoch
        leadership = self._leadership
        was_given_up = (
            attempt.epoch == epoch
            and leadership is not None
            and leadership.epoch == epoch
            and leadership.has_given_up(attempt)
        )
        return resolve(attempt, epoch=epoch, log=self._election.decisions, was_given_up=was_given_up)

    def story(self, order_id: str) -> tuple[Attempt, Story] | None:
        """See Leadership.story; None where this node does not lead."""
        return None if self._leadership is None else self._leadership.story(order_id)

    async def _lead(self, epoch: int) -> None:
        self._leadership = Leadership(
            epoch,
            election=self._election,
            queue=self._queue,
            participants=self._participants,
            in_flight_max=self._in_flight_max,
            rotate_after=self._rotate_after,
        )
        work = asyncio.create_task(self._leadership.run())
        deposed = asyncio.create_task(self._until_deposed(self._leadership))
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
        log.info("no longer leading", epoch=epoch, leader=self._election.status.leader_id)

    async def _until_deposed(self, leadership: Leadership) -> None:
        while self._leads(leadership):
            await self._election.changed()

    def _leads(self, leadership: Leadership) -> bool:
        """Also while it hands over, when it is not ready: nobody may take over, and then it goes on."""
        status = self._election.status
        is_handing_over = leadership.is_handing_over and status.leader_id == status.node_id
        return status.epoch == leadership.epoch and (status.ready or is_handing_over)
