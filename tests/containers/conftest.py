"""The whole system in containers, from the compose file that people use, under a project name of the run's own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
ORCHESTRATOR_URL = "http://127.0.0.1:8081"
PAGE_URL = "http://127.0.0.1:8080"
BUILD_TIMEOUT_S = 1_500
READY_TIMEOUT_S = 240


class Compose:
    """`docker compose`, or `docker-compose` where that is what there is."""

    def __init__(self) -> None:
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        self._command = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
        self.project = f"bookstore-test-{os.getpid()}"

    def remove_everything(self) -> None:
        """Containers and volumes are gone afterwards; a network goes if the engine lets it.

        The engine sometimes keeps the endpoint of a container that was restarted and is gone, and then the network too.
        """
        self("stop", "--timeout", "10")
        self("rm", "--force", "-v")
        of_project = ("--filter", f"label=com.docker.compose.project={self.project}")
        volumes = _docker("volume", "ls", "--quiet", *of_project).split()
        _docker("volume", "rm", *volumes)
        subprocess.run(["docker", "network", "prune", "--force", *of_project], capture_output=True, check=False)

    def __call__(self, *arguments: str, timeout_s: float = 120) -> str:
        outcome = subprocess.run(
            [*self._command, "--project-name", self.project, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            # Luck has no place in a test.
            env={**os.environ, "PAYMENT_CARD_SUCCESS_RATE": "1", "DOCKER_BUILDKIT": "0"},
        )
        assert outcome.returncode == 0, (
            f"compose {' '.join(arguments)}:\n{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}"
        )
        return outcome.stdout


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=True).stdout


def docker_is_there() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def is_ready() -> bool:
    try:
        return httpx.get(f"{ORCHESTRATOR_URL}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    if not docker_is_there():
        pytest.skip("no Docker engine answers here")
    subprocess.run(["bash", "docker/base-image.sh"], cwd=ROOT, check=True, timeout=300)
    compose = Compose()
    compose("build", timeout_s=BUILD_TIMEOUT_S)
    try:
        compose("up", "--detach", timeout_s=READY_TIMEOUT_S)
        eventually(is_ready, "the system in containers is ready", READY_TIMEOUT_S)
        yield compose
    except BaseException:
        print(compose("logs", "--tail", "30"))
        raise
    finally:
        compose.remove_everything()
