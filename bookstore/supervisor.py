"""Starts the processes, watches them, starts again what dies, and stops everything."""

import asyncio
import ctypes
import itertools
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bookstore.health import Prober
from bookstore.system import ProcessSpec

RESTART_DELAY_S_FIRST = 0.2
RESTART_DELAY_S_MAX = 10.0
# A process that lived this long did not die at once: its next restart is quick again.
STEADY_AFTER_S = 20.0
STOP_TIMEOUT_S = 10.0
PROBE_INTERVAL_S_STARTING = 0.25
PROBE_INTERVAL_S_STEADY = 2.0
LOG_BYTES_MAX = 10 * 1024 * 1024

_PR_SET_PDEATHSIG = 1


@dataclass
class Supervised:
    """A process as it stands now."""

    spec: ProcessSpec
    pid: int | None = None
    healthy: bool = False
    restarts: int = 0
    exit_status: int | None = None
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)


class Supervisor:
    """Owns the processes of `specs`, in their order. `on_change` is called whenever one of them changes."""

    def __init__(
        self, specs: list[ProcessSpec], log_directory: Path, prober: Prober, on_change: Callable[[], None]
    ) -> None:
        self.processes = {spec.name: Supervised(spec) for spec in specs}
        self._log_directory = log_directory
        self._prober = prober
        self._on_change = on_change
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def all_healthy(self) -> bool:
        return all(process.healthy for process in self.processes.values())

    def start(self) -> None:
        """Starts every process; returns before they are healthy."""
        self._log_directory.mkdir(parents=True, exist_ok=True)
        for process in self.processes.values():
            self._tasks.append(asyncio.create_task(self._keep_running(process)))
            self._tasks.append(asyncio.create_task(self._keep_probing(process)))

    async def stop(self) -> None:
        """Stops every process, those that were started last first; what does not end in time is killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # PostgreSQL, started first, goes last: others still write to it while they drain.
        first, *others = self.processes.values()
        await asyncio.gather(*(_terminate(process) for process in reversed(others)))
        await _terminate(first)

    async def _keep_running(self, supervised: Supervised) -> None:
        loop = asyncio.get_running_loop()
        quick_deaths = 0
        while True:
            started_at = loop.time()
            with self._log_file(supervised.spec.name) as log:
                process = await asyncio.create_subprocess_exec(
                    *supervised.spec.command,
                    env=dict(supervised.spec.environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
            supervised.process, supervised.pid = process, process.pid
            self._on_change()
            supervised.exit_status = await process.wait()
            supervised.pid, supervised.healthy = None, False
            supervised.restarts += 1
            self._on_change()
            quick_deaths = 0 if loop.time() - started_at > STEADY_AFTER_S else quick_deaths + 1
            await asyncio.sleep(min(RESTART_DELAY_S_MAX, RESTART_DELAY_S_FIRST * 2 ** max(0, quick_deaths - 1)))

    async def _keep_probing(self, supervised: Supervised) -> None:
        while True:
            healthy = supervised.pid is not None and await self._prober.healthy(supervised.spec)
            if healthy != supervised.healthy:
                supervised.healthy = healthy
                self._on_change()
            await asyncio.sleep(PROBE_INTERVAL_S_STEADY if self.all_healthy else PROBE_INTERVAL_S_STARTING)

    def _log_file(self, name: str) -> IO[bytes]:
        path = self._log_directory / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.rename(path.with_suffix(".log.1"))
        return path.open("ab")


async def _terminate(supervised: Supervised) -> None:
    process = supervised.process
    if process is None or process.returncode is not None:
        return
    # PostgreSQL's fast shutdown is SIGINT; SIGTERM would wait for its clients.
    process.send_signal(signal.SIGINT if supervised.spec.probe == "postgres" else signal.SIGTERM)
    # One that is stopped cannot hear it.
    process.send_signal(signal.SIGCONT)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _die_with_parent() -> None:
    """Runs in the child: where the kernel can do that, a supervisor killed with -9 takes its processes along."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, for an error message."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4_096))
        text = file.read().decode(errors="replace").splitlines()
    return "\n".join(itertools.islice(text, max(0, len(text) - lines), None))
