"""A newcomer follows the README in a fresh clone: its commands do what it says."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bookstore import state
from bookstore.shop_client import order_body
from bookstore.system import DB_NODES, PORTS, ports_in_use
from tests.e2e.shop_http import checked

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parent.parent.parent
READY_TIMEOUT_S = 240


def commands() -> list[str]:
    """What the README's console blocks tell people to type."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line.removeprefix("$ ").partition("#")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clone") / "bookstore"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(directory)], check=True)
    return directory


@pytest.fixture(scope="module")
def running(clone: Path) -> Iterator[Path]:
    """The clone after `make up`: a directory, and a bookstore on the ports that the README names."""
    if taken := ports_in_use(PORTS):
        pytest.skip(f"the README's ports are in use: {taken}")
    log = clone / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["make", "up"], cwd=clone, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while "Ready in" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield clone
    finally:
        # As a terminal does it on Ctrl-C: make and its child both hear it.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def order() -> str:
    response = httpx.post("http://localhost:8081/checkout", json=order_body(("Book A", 1)), timeout=60, trust_env=False)
    checked(response)
    status: str = response.json()["status"]
    return status


def test_every_command_exists() -> None:
    told = commands()
    assert {"make up", "make test", "make status"} <= set(told)
    for command in told:
        if command.startswith("make "):
            subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_gate_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text().splitlines()


def test_make_up_opens_the_shop_and_an_order_ends(running: Path) -> None:
    assert "submit-button" in httpx.get("http://localhost:8080", trust_env=False).text
    # A simulated bank declines one card in twenty; somebody who tries is not unlucky five times in a row.
    assert "Order Approved" in {order() for _ in range(5)}


def test_make_status_shows_every_process_and_the_memory(running: Path) -> None:
    outcome = subprocess.run(["make", "status"], cwd=running, capture_output=True, text=True, check=True)
    for name in PORTS:
        assert name in outcome.stdout
    assert "PSS MB" in outcome.stdout


def test_a_killed_node_is_survived_and_started_again(running: Path) -> None:
    system = state.read_state(running / ".data")
    assert system is not None
    pids = {system.process(node).pid for node in DB_NODES}
    for pid in pids - {None}:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert "Order Approved" in {order() for _ in range(5)}
        break
