"""What a running system tells other commands: a small file in its data directory, and a lock that it holds."""

import fcntl
import os
import time
from pathlib import Path
from typing import IO

import msgspec

from bookstore.system import CLUSTER_NODES_MAX, nodes_of

STATE_FILE = "system.json"
LOCK_FILE = "system.lock"
_LOCK_TRIES = 10
_LOCK_PAUSE_S = 0.05


class ProcessState(msgspec.Struct, frozen=True):
    name: str
    port: int
    pid: int | None
    healthy: bool
    restarts: int


class SystemState(msgspec.Struct, frozen=True):
    """`ready` once every process has been healthy at the same time; `pid` is the supervisor's.

    `tls_dir`: of the files with which an operator calls (utils.identity.files); empty where all speak in clear text.
    """

    pid: int
    ready: bool
    page: str
    processes: tuple[ProcessState, ...]
    tls_dir: str = ""

    def process(self, name: str) -> ProcessState:
        return next(process for process in self.processes if process.name == name)

    def nodes(self, cluster: str) -> tuple[str, ...]:
        """The names of a cluster's nodes."""
        known = nodes_of(cluster, CLUSTER_NODES_MAX)
        return tuple(process.name for process in self.processes if process.name in known)


def write_state(data_directory: Path, state: SystemState) -> None:
    """Replaces the file as a whole, so that a reader never sees half of it. Only its owner may read it."""
    partial = data_directory / f"{STATE_FILE}.partial"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(state))
    partial.rename(data_directory / STATE_FILE)


def read_state(data_directory: Path) -> SystemState | None:
    """The state of the system that runs in this data directory; None where none does."""
    if not is_locked(data_directory):
        return None
    path = data_directory / STATE_FILE
    return msgspec.json.decode(path.read_bytes(), type=SystemState) if path.exists() else None


def lock(data_directory: Path) -> IO[bytes] | None:
    """Holds the data directory while the returned file is open; None when another system holds it."""
    data_directory.mkdir(parents=True, exist_ok=True)
    for _ in range(_LOCK_TRIES):
        if file := _try_lock(data_directory):
            return file
        # A reader that looks whether a system runs holds it for an instant.
        time.sleep(_LOCK_PAUSE_S)
    return None


def _try_lock(data_directory: Path) -> IO[bytes] | None:
    file = (data_directory / LOCK_FILE).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def is_locked(data_directory: Path) -> bool:
    """Whether a system runs in this data directory."""
    if not (data_directory / LOCK_FILE).exists():
        return False
    held = _try_lock(data_directory)
    if held is None:
        return True
    held.close()
    return False
