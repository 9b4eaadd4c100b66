import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.integration.orchestrator.cluster import Cluster

START_S_MAX = 30
ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@dataclass
class Orchestrator:
    """The real process."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def logs(self, text: str, within_s: float = 5) -> bool:
        """Waits until the log holds `text`."""
        ends_at = time.monotonic() + within_s
        while time.monotonic() < ends_at:
            if text in self.log.read_text():
                return True
            time.sleep(0.02)
        return False

    def stopped_listening(self, within_s: float = 10) -> bool:
        """Waits until nobody listens on the port any more."""
        ends_at = time.monotonic() + within_s
        while time.monotonic() < ends_at:
            try:
                self.connect().close()
            except ConnectionError:
                return True
            time.sleep(0.02)
        return False


def environment(cluster: Cluster, port: int, **settings: str) -> dict[str, str]:
    addresses = dict.fromkeys(
        ("TRANSACTION_VERIFICATION", "FRAUD_DETECTION", "SUGGESTIONS", "PAYMENT_SERVICE", "ORDER_QUEUE",
         "ORDER_EXECUTOR", "DB_NODES"),
        cluster.address,
    )  # fmt: skip
    own = {
        "NODE_ID": "orchestrator",
        "BIND_HOST": "127.0.0.1",
        "PORT": str(port),
        "ORDER_ID_KEY": "a secret of some length",
        # Longer than any test: what waits, waits for an event.
        "VERIFICATION_TIMEOUT_S": "30",
    }
    return {**os.environ, **addresses, **own, **settings}


@contextlib.contextmanager
def running_orchestrator(cluster: Cluster, directory: Path, **settings: str) -> Iterator[Orchestrator]:
    """The process, ready, with `settings` in its environment; it is stopped as a container is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory / "orchestrator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator"],
            cwd=ROOT,
            env=environment(cluster, port, **settings),
            stderr=output,
        )
    running = Orchestrator(process, port, log)
    try:
        _wait_until_ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


@pytest.fixture
def orchestrator(cluster: Cluster, tmp_path: Path) -> Iterator[Orchestrator]:
    with running_orchestrator(cluster, tmp_path) as running:
        yield running


@pytest.fixture
def http(orchestrator: Orchestrator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=orchestrator.url, timeout=20, trust_env=False) as client:
        yield client


def _wait_until_ready(orchestrator: Orchestrator) -> None:
    ends_at = time.monotonic() + START_S_MAX
    while time.monotonic() < ends_at:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{orchestrator.url}/readyz", trust_env=False).is_success:
                return
        assert orchestrator.process.poll() is None, orchestrator.log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"not ready within {START_S_MAX} s: {orchestrator.log.read_text()}")
