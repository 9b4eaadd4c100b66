"""What the bench asks of a system: three processes that can be started, loaded and killed."""

import asyncio
import signal
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import grpc
import msgspec

from benchmarks.raft.load import Figures, Load, drive
from benchmarks.raft.worker import Answer, Order

WAIT_S_MAX = 60.0

_T = TypeVar("_T")


class LostLeadershipError(Exception):
    """A load was not carried out to its end: there was an election in the middle of it."""


class Cluster(Protocol):
    """Three nodes, each a process, with data that outlives them. `proposers`: where they are, and so what they cost."""

    name: str
    proposers: str

    async def start(self) -> None:
        """Starts every node that does not run; one that is stopped is killed first."""

    async def first_commit(self) -> None:
        """Returns once a command that was given after the call is committed, whoever leads."""

    async def settled(self) -> None:
        """Returns once every node follows a leader."""

    async def load(self, in_flight: int, *, seconds: float | None = None, count: int | None = None) -> Figures:
        """After `first_commit`, on the node that led then. Raises LostLeadershipError."""

    async def find_leader(self) -> None:
        """After `first_commit`: whom `strike_leader` means."""

    async def strike_leader(self, number: signal.Signals) -> None:
        """SIGKILL, which closes its port, or SIGSTOP, which does not. It is dead, or as good as dead, afterwards."""

    async def kill(self) -> None:
        """kill -9 of every node."""


class Process:
    """A process of ours, and nothing of it is left when it is killed."""

    def __init__(self, command: Collection[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self.process: asyncio.subprocess.Process | None = None
        self.is_stopped = False

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None and not self.is_stopped

    async def start(self) -> None:
        await self.kill()
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def strike(self, number: signal.Signals) -> None:
        """SIGKILL or SIGSTOP; a process that is stopped does not count as running."""
        assert self.process is not None
        self.process.send_signal(number)
        self.is_stopped = number == signal.SIGSTOP
        if not self.is_stopped:
            await self.process.wait()

    async def kill(self) -> None:
        self.is_stopped = False
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class WorkerProcess(Process):
    """A node that takes orders (worker.py)."""

    _reader: asyncio.Task[None]

    def __init__(self, command: Collection[str], environment: dict[str, str]) -> None:
        super().__init__(command, environment)
        self._number = 0
        self._answers: dict[int, asyncio.Future[Answer]] = {}

    async def start(self) -> None:
        await super().start()
        self._reader = asyncio.create_task(self._read())

    async def order(
        self, what: str, in_flight: int = 0, *, seconds: float | None = None, count: int | None = None
    ) -> Answer:
        """Raises LostLeadershipError if the node could not, or died."""
        assert self.process is not None
        assert self.process.stdin is not None
        self._number += 1
        order = Order(self._number, what, in_flight, seconds, count)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[order.number] = future
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        answer = await future
        if answer.error:
            raise LostLeadershipError(answer.error)
        return answer

    async def kill(self) -> None:
        await super().kill()
        if self.process is not None:
            await self._reader

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            answer = msgspec.json.decode(line, type=Answer)
            if (future := self._answers.pop(answer.number, None)) and not future.done():
                future.set_result(answer)
        for future in self._answers.values():
            if not future.done():
                future.set_result(Answer(0, error="the process ended"))
        self._answers.clear()


class WorkerCluster:
    """Nodes with their proposers inside them."""

    proposers = "in the leader's process"

    def __init__(self, name: str, workers: dict[str, WorkerProcess]) -> None:
        """`workers`, by their addresses."""
        self.name = name
        self._workers = workers
        self._leader: WorkerProcess | None = None

    @property
    def leader_address(self) -> str:
        return next(address for address, worker in self._workers.items() if worker is self._leader)

    async def start(self) -> None:
        await asyncio.gather(*(worker.start() for worker in self._workers.values() if not worker.is_running))

    async def first_commit(self) -> None:
        async def commit(worker: WorkerProcess) -> WorkerProcess:
            await worker.order("commit")
            return worker

        self._leader = await first_of([commit(worker) for worker in self._workers.values() if worker.is_running])

    async def settled(self) -> None:
        async with asyncio.timeout(WAIT_S_MAX):
            await asyncio.gather(*(worker.order("settle") for worker in self._workers.values()))

    async def load(self, in_flight: int, *, seconds: float | None = None, count: int | None = None) -> Figures:
        assert self._leader is not None
        figures = (await self._leader.order("load", in_flight, seconds=seconds, count=count)).figures
        assert figures is not None
        return figures

    async def find_leader(self) -> None:
        """`first_commit` has found it."""

    async def strike_leader(self, number: signal.Signals) -> None:
        assert self._leader is not None
        await self._leader.strike(number)

    async def kill(self) -> None:
        await asyncio.gather(*(worker.kill() for worker in self._workers.values()))


async def first_of(coroutines: Iterable[Coroutine[Any, Any, _T]]) -> _T:
    """What the first one that ends returns; the others are cancelled."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S_MAX)
        if not done:
            raise TimeoutError(f"nothing was committed within {WAIT_S_MAX} s")
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unary_load(address: str, method: str, frame: Callable[[bytes], bytes], in_flight: int, load: Load) -> Figures:
    """One unary RPC for each command, from this process. `frame`: a command as the method's request."""
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(method)

        async def propose(command: bytes) -> None:
            await call(frame(command), timeout=WAIT_S_MAX)

        try:
            await drive(propose, in_flight, load)
        except* grpc.aio.AioRpcError as errors:
            raise LostLeadershipError(str(errors.exceptions[0])) from errors
    try:
        return load.figures()
    except TimeoutError as error:
        raise LostLeadershipError(str(error)) from error
