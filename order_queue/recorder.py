"""Writes ended orders to PostgreSQL, from the queue's leader, and marks them recorded in the queue's log.

What PostgreSQL has had for longer than keys are remembered, the queue forgets. PostgreSQL's own clock tells, so that it
does not matter who leads and for how long; a wrong clock only moves the moment from which on PostgreSQL is asked.

An outbox: the machine keeps a result at least until it is marked, and it is marked only after PostgreSQL has it. A
leader that dies in between leaves the next one to write the same rows again, which changes nothing.
"""

import asyncio
from typing import Final, Protocol

import psycopg

from order_queue.commands import Forget, Forgot, MarkRecorded, encode
from order_queue.order_record import OrderRecord
from order_queue.queue_machine import QueueMachine
from order_queue.wakeups import ENDED, Wakeups
from utils.observe.logging import get_logger
from utils.raft.consensus import Consensus
from utils.raft.errors import RaftError

log = get_logger()

BATCH_MAX: Final = 500
PROPOSE_TIMEOUT_S: Final = 5.0
# With one command: applying it holds up the node.
FORGOTTEN_MAX: Final = 500
# Looked for at most this often, and only while orders end: without them nothing grows.
_FORGET_INTERVAL_S: Final = 60.0


class Store(Protocol):
    """`order_queue.record_store.RecordStore`."""

    async def write(self, records: list[OrderRecord]) -> None: ...
    async def recorded_before(self, age_s: float) -> int: ...
    async def close(self) -> None: ...


class Recorder:
    """Gathers for `interval_s` seconds before each write: one transaction and one log entry for all that end in it.

    While PostgreSQL is away it tries again after `interval_s`, doubling up to `backoff_s_max`.
    """

    def __init__(
        self,
        node: Consensus,
        machine: QueueMachine,
        wakeups: Wakeups,
        store: Store,
        *,
        interval_s: float,
        backoff_s_max: float,
        keys_remembered_s: float,
    ) -> None:
        self._node = node
        self._machine = machine
        self._wakeups = wakeups
        self._store = store
        self._interval_s = interval_s
        self._backoff_s_max = backoff_s_max
        self._keys_remembered_s = keys_remembered_s
        self._forget_again_at = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        backoff_s = self._interval_s
        task = asyncio.current_task()
        assert task is not None
        try:
            # A failure of PostgreSQL can hide a cancellation that comes at the same moment.
            while not task.cancelling():
                if not self._node.status.ready:
                    # Leadership wakes every topic.
                    await self._wakeups.wait(ENDED)
                elif not self._machine.unrecorded_count:
                    await self._wakeups.wait(ENDED)
                    await asyncio.sleep(self._interval_s)
                elif await self._record():
                    backoff_s = self._interval_s
                    await self._forget()
                else:
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(backoff_s * 2, self._backoff_s_max)
        finally:
            await self._store.close()

    async def _record(self) -> bool:
        """Writes and marks one batch; whether that worked."""
        records = self._machine.first_unrecorded(BATCH_MAX)
        try:
            await self._store.write(records)
            up_to_index = records[-1].changed_index
            await self._node.propose(encode(MarkRecorded(up_to_index)), timeout_s=PROPOSE_TIMEOUT_S)
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("PostgreSQL does not take order records", error=str(error), unrecorded=len(records))
            return False
        except RaftError as error:
            log.info("records are written and not marked yet", error=str(error))
            return False
        log.info("orders recorded", count=len(records), up_to_index=up_to_index)
        return True

    async def _forget(self) -> None:
        """A part of what may be forgotten now, if it is time for it. What fails comes again with the next batch."""
        now = asyncio.get_running_loop().time()
        if now < self._forget_again_at:
            return
        forgot = Forgot(0)
        try:
            if up_to_index := await self._store.recorded_before(self._keys_remembered_s):
                command = encode(Forget(up_to_index, FORGOTTEN_MAX))
                forgot = await self._node.propose(command, timeout_s=PROPOSE_TIMEOUT_S)
        except (psycopg.Error, OSError, TimeoutError, RaftError) as error:
            log.info("no order is forgotten for now", error=str(error))
        if forgot.orders:
            log.info("orders forgotten", count=forgot.orders, up_to_index=up_to_index)
        if forgot.orders < FORGOTTEN_MAX:
            self._forget_again_at = now + min(_FORGET_INTERVAL_S, self._keys_remembered_s)
