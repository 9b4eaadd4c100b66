"""Many orders in one call: while a call is under way, what comes next gathers for the following one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalDroppedError, ProposalRefusedError
from utils.rpc.errors import DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

ITEMS_MAX = 64
# A call that takes longer than this no longer holds back the next one...
HOLD_S = 0.02
# ...up to this many calls at once.
CALLS_MAX = 16

# Failures that say nothing of the items.
_OF_THE_PEER = (
    Unavailable,
    DeadlineExceeded,
    ResourceExhausted,
    NotLeaderError,
    ProposalDroppedError,
    OutcomeUnknownError,
)
# Any other answer may be for the sake of one item; a proposal is refused, too, when it is too large.
_OF_AN_ITEM = (ServiceError, ProposalRefusedError)


class Batcher(Generic[_Item, _Result]):
    """Sends items by `send`, which answers with one result for each, in their order.

    Its calls are tasks of `tasks`, and end with them. A call that fails, though its peer is there and has room, may
    fail for the sake of one item: then each is sent alone, so that no order suffers for another.
    """

    def __init__(
        self, tasks: asyncio.TaskGroup, send: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result]]]
    ) -> None:
        self._tasks = tasks
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._calls = 0
        self._called_at = 0.0
        self._timer: asyncio.Handle | None = None

    async def submit(self, item: _Item) -> _Result:
        """The item's result. Raises what `send` raised."""
        future: asyncio.Future[_Result] = self._loop.create_future()
        self._waiting.append((item, future))
        self._schedule()
        return await future

    def _schedule(self) -> None:
        """A call starts once the loop has gone round, so that what arrives together travels together."""
        if self._timer is not None or not self._waiting or self._calls >= CALLS_MAX:
            return
        held_until = self._called_at + HOLD_S
        if self._calls == 0 or self._loop.time() >= held_until:
            self._timer = self._loop.call_soon(self._start)
        else:
            self._timer = self._loop.call_at(held_until, self._start)

    def _start(self) -> None:
        self._timer = None
        batch = [self._waiting.popleft() for _ in range(min(ITEMS_MAX, len(self._waiting)))]
        batch = [(item, future) for item, future in batch if not future.done()]
        if batch:
            self._calls += 1
            self._called_at = self._loop.time()
            self._tasks.create_task(self._call(batch))
        self._schedule()

    async def _call(self, batch: list[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        try:
            await self._exchange(batch)
        finally:
            self._calls -= 1
            if self._timer is not None:
                # It may wait for the end of a hold that nobody holds any longer.
                self._timer.cancel()
                self._timer = None
            self._schedule()

    async def _exchange(self, batch: list[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        try:
            results = await self._send([item for item, _ in batch])
        except _OF_THE_PEER as error:
            self._fail(batch, error)
        except _OF_AN_ITEM as error:
            if len(batch) == 1:
                self._fail(batch, error)
                return
            for entry in batch:
                await self._exchange([entry])
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    def _fail(self, batch: list[tuple[_Item, asyncio.Future[_Result]]], error: Exception) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
