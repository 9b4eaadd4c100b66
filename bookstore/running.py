"""A second bookstore beside the first, for tests and benchmarks: the same command, its own data, free ports."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from bookstore import state
from bookstore.system import HOST, ORCHESTRATOR, PAGE, SettingsByProcess

READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
_POLL_S = 0.1


class RunningSystem:
    """`with RunningSystem(directory) as system:` starts `python -m bookstore up`, waits for it, and stops it."""

    def __init__(
        self,
        data_directory: Path,
        settings: Mapping[str, str] | None = None,
        own_settings: SettingsByProcess | None = None,
    ) -> None:
        """`settings`: environment variables that every process gets; `own_settings`: those of one alone."""
        self.data_directory = data_directory
        self._settings = dict(settings or {})
        self._own_settings = own_settings or {}
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it is ready. Raises RuntimeError, with what it printed, if it never is."""
        self.data_directory.mkdir(parents=True, exist_ok=True)
        output = self.data_directory / "up.log"
        own_settings = self.data_directory / "process_settings.json"
        own_settings.touch(mode=0o600)
        own_settings.write_bytes(msgspec.json.encode(self._own_settings))
        command = [sys.executable, "-m", "bookstore", "--data-dir", str(self.data_directory)]
        with output.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [*command, "up", "--free-ports", "--process-settings", str(own_settings)],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._settings},
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not ((system := state.read_state(self.data_directory)) and system.ready):
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the system did not become ready:\n{output.read_text()}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stops it as Ctrl-C does."""
        if self._supervisor is None or self._supervisor.poll() is not None:
            return
        self._supervisor.send_signal(signal.SIGINT)
        self._supervisor.wait(STOP_TIMEOUT_S)

    @property
    def state(self) -> state.SystemState:
        system = state.read_state(self.data_directory)
        if system is None:
            raise RuntimeError("the system does not run")
        return system

    @property
    def orchestrator_url(self) -> str:
        return f"http://{self.address(ORCHESTRATOR)}"

    @property
    def page_url(self) -> str:
        return f"http://{self.address(PAGE)}"

    def address(self, name: str) -> str:
        """host:port of a process."""
        return f"{HOST}:{self.state.process(name).port}"

    def pid(self, name: str) -> int:
        """Of a process that runs; waits for one that is being started again."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while (pid := self.state.process(name).pid) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not run")
            time.sleep(_POLL_S)
        return pid
