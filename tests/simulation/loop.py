"""An event loop in virtual time: what runs on it runs as on asyncio's own, and always in the same order.

Every callback belongs to the process in whose context it was scheduled, or to none (the world around them). A process
can be killed, when nothing of it runs any more; stopped, when its callbacks wait until it goes on; and its clock may be
fast or slow. What it gives to an executor, its disk's work, is done a while later, all at once.
"""

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NoReturn, cast

# The points around whatever a node gives its disk to do.
BEFORE_WORK = "before persisting"
AFTER_WORK = "persisted, nothing sent"

_PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


class PowerCut(BaseException):
    """The power fails in the middle of a disk's work."""


class ProcessEnded(BaseException):
    """What `end_process` does in a simulation: it does not return."""


class Process:
    """One run of a node, from its start to its end."""

    def __init__(
        self,
        *,
        clock_rate: float,
        disk_delay_us: Callable[[], int],
        point: Callable[[str], None],
        power_failed: Callable[[], None],
        ended: Callable[[int, BaseException], None],
        join: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """`point(label)` may raise PowerCut, and `power_failed()` is told then. `ended(status, error)`: by itself.

        `join()` returns once the node was added to its cluster.
        """
        self.clock_rate = clock_rate
        self.disk_delay_us = disk_delay_us
        self.point = point
        self.power_failed = power_failed
        self.ended = ended
        self.join = join
        self.is_alive = True
        self.is_stopped = False
        self.backlog: list[Handle] = []
        # When each executor, which has one thread, is done with what it was given.
        self.executors_free_at: dict[Any, int] = {}
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)


class Handle:
    __slots__ = ("args", "callback", "context", "is_cancelled", "when_s")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context, when_s: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.when_s = when_s
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_s


class SimulatedLoop:
    """An asyncio.AbstractEventLoop as far as the code under test uses one."""

    def __init__(self) -> None:
        self.now_us = 0
        # An invariant that a task found broken: it ends the run.
        self.failure: BaseException | None = None
        self._ready: deque[Handle] = deque()
        self._agenda: list[tuple[int, int, Handle]] = []
        self._order = itertools.count()

    def run_until(self, end_us: int) -> None:
        """Everything that is due until then. Raises what a callback raises, and `failure`."""
        asyncio._set_running_loop(self._as_loop)
        try:
            while True:
                while self._ready:
                    self._run(self._ready.popleft())
                    if self.failure is not None:
                        raise self.failure
                if not self._agenda or self._agenda[0][0] > end_us:
                    break
                self.now_us, _, handle = heapq.heappop(self._agenda)
                self._ready.append(handle)
            self.now_us = end_us
        finally:
            asyncio._set_running_loop(None)

    def schedule(self, delay_us: int, action: Callable[..., Any], *args: Any) -> None:
        """In the world's time, and as the world's own."""
        self._put(self.now_us + delay_us, Handle(action, args, _WORLD, 0.0))

    def resume(self, process: Process) -> None:
        """All that it missed is there at once."""
        process.is_stopped = False
        self._ready.extend(process.backlog)
        process.backlog.clear()

    # What asyncio and the code under test call

    def time(self) -> float:
        process = _PROCESS.get()
        return self.now_us / 1e6 * (process.clock_rate if process is not None else 1.0)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> Handle:
        handle = Handle(callback, args, context or contextvars.copy_context(), 0.0)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context or contextvars.copy_context(), when)
        process = _PROCESS.get()
        rate = process.clock_rate if process is not None else 1.0
        self._put(max(self.now_us, round(when * 1e6 / rate)), handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._as_loop)

    def create_task(
        self, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self._as_loop, **options)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        process = _PROCESS.get()
        assert process is not None, "only a process has a disk"
        future = self.create_future()
        begin = max(self.now_us, process.executors_free_at.get(executor, 0))
        end = process.executors_free_at[executor] = begin + process.disk_delay_us()
        self._put(end, Handle(_work, (process, future, func, args), process.context, 0.0))
        return future

    @property
    def _as_loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Of tasks that died with their process, and futures that nobody waits for any more: nothing to report."""

    def _put(self, when_us: int, handle: Handle) -> None:
        heapq.heappush(self._agenda, (when_us, next(self._order), handle))

    def _run(self, handle: Handle) -> None:
        if handle.is_cancelled:
            return
        process = handle.context.get(_PROCESS)
        if process is not None:
            if not process.is_alive:
                return
            if process.is_stopped:
                process.backlog.append(handle)
                return
        handle.context.run(handle.callback, *handle.args)


def end_process(status: int, what: str, error: BaseException) -> NoReturn:
    """In place of `utils.raft.io.failure.end_process`."""
    process = _PROCESS.get()
    assert process is not None, what
    process.ended(status, error)
    raise ProcessEnded


async def join_cluster(*_: Any) -> None:
    """In place of `utils.raft.io.joining.join_cluster`."""
    process = _PROCESS.get()
    assert process is not None
    await process.join()


def _work(process: Process, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        process.point(BEFORE_WORK)
        result = func(*args)
        process.point(AFTER_WORK)
    except PowerCut:
        process.power_failed()
    except Exception as error:  # noqa: BLE001 it is for whoever waits
        if not future.done():
            future.set_exception(error)
    else:
        # Who waited may have been cancelled; what was begun was done all the same.
        if not future.done():
            future.set_result(result)


_WORLD = contextvars.Context()
