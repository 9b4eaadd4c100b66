"""What is finished need not be remembered: now and then a leader says up to where that is."""

import asyncio

from order_executor.batching import Batcher
from utils.observe.logging import get_logger
from utils.raft.errors import RaftError
from utils.rpc.errors import ServiceError
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command, DecisionLog, PublishFinished

log = get_logger()

# Once it has grown by so many positions of the queue's log: at most three for an order. A little of it is no burden.
PUBLISH_POSITIONS = 256


class Publisher:
    """Of one epoch. Its task belongs to `tasks`, and ends with them."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        decisions: DecisionLog,
        records: Batcher[Command, OrderDecision | None],
        epoch: int,
    ) -> None:
        self._tasks = tasks
        self._decisions = decisions
        self._records = records
        self._epoch = epoch
        self._is_publishing = False

    def ended(self, below: int) -> None:
        """The queue says that every order below this position has ended."""
        publishable = self._decisions.all_finished_below(below)
        if publishable - self._decisions.finished_below >= PUBLISH_POSITIONS and not self._is_publishing:
            self._is_publishing = True
            self._tasks.create_task(self._publish(below))

    async def _publish(self, ended_below: int) -> None:
        try:
            await self._records.submit(PublishFinished(ended_below))
        except (ServiceError, RaftError) as error:
            log.info("what is finished is not published yet", epoch=self._epoch, error=str(error))
        finally:
            self._is_publishing = False
