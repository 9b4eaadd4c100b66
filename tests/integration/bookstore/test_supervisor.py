"""The supervisor with real processes: what dies is started again, and nothing is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from bookstore.supervisor import Supervised, Supervisor
from bookstore.system import ProcessSpec

WAIT_S = 30
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class AlwaysHealthy:
    async def healthy(self, spec: ProcessSpec) -> bool:
        return True


class Watched:
    """A supervisor whose changes a test can wait for."""

    def __init__(self, directory: Path, **programs: str) -> None:
        self._changed = asyncio.Event()
        specs = [
            ProcessSpec(name, (sys.executable, "-c", program), dict(os.environ), 1, "grpc")
            for name, program in programs.items()
        ]
        self.supervisor = Supervisor(specs, directory, AlwaysHealthy(), self._changed.set)  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> Supervised:
        return self.supervisor.processes[name]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await self._changed.wait()
                self._changed.clear()


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    watched = Watched(tmp_path, first=SLEEPER, second=SLEEPER)
    watched.supervisor.start()
    await watched.until(lambda: watched.supervisor.all_healthy)
    yield watched
    await watched.supervisor.stop()


async def test_a_killed_process_is_started_again_and_counted(watched: Watched) -> None:
    killed = watched["second"].pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await watched.until(lambda: watched["second"].pid not in (None, killed) and watched["second"].healthy)
    assert watched["second"].restarts == 1
    assert watched["second"].exit_status == -signal.SIGKILL
    assert watched["first"].restarts == 0


async def test_stop_leaves_no_process(watched: Watched) -> None:
    pids = [watched["first"].pid, watched["second"].pid]
    await watched.supervisor.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)


async def test_a_stopped_process_is_ended_too(watched: Watched) -> None:
    pid = watched["second"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await watched.supervisor.stop()
    assert not psutil.pid_exists(pid)


async def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookstore.supervisor.STOP_TIMEOUT_S", 0.5)
    watched = Watched(tmp_path, first=SLEEPER, deaf=DEAF)
    watched.supervisor.start()
    await watched.until(lambda: watched.supervisor.all_healthy)
    pid = watched["deaf"].pid
    await watched.supervisor.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)
