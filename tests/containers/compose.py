"""The compose file that people use, run under a project name of the tests' own."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.chaos.run import LUCK
from tests.e2e.waiting import eventually
from utils.identity.files import TlsFiles
from utils.rpc.transport import CLEAR_TEXT, MutualTls, use_credentials

ROOT = Path(__file__).resolve().parent.parent.parent
ORCHESTRATOR_URL = "http://127.0.0.1:8081"
BUILD_TIMEOUT_S = 1_500
READY_TIMEOUT_S = 240
# Disks that can be filled without filling the machine's.
FILES = ("docker-compose.yaml", "docker/small-volumes.yaml")
# The classic builder is what every engine has; luck has no place in a test.
SETTINGS = {"DOCKER_BUILDKIT": "0", **LUCK}


class Compose:
    """`docker compose`, or `docker-compose` where that is what there is, with `options`."""

    page_url = "http://127.0.0.1:8080"

    def __init__(self, *options: str) -> None:
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        self._command = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
        for file in FILES:
            self._command += ["--file", file]
        self._command += options
        self.project = f"bookstore-test-{os.getpid()}"
        self.figures: list[str] = []
        # The files with which an operator calls: what TLS_DIR is to name.
        self.operator: Path | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            print(self("logs", "--tail", "30"))
            self.remove_everything()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove_everything()

    def __call__(self, *arguments: str, timeout_s: float = 300, settings: Mapping[str, str] | None = None) -> str:
        outcome = subprocess.run(
            [*self._command, "--project-name", self.project, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **SETTINGS, **(settings or {})},
        )
        assert outcome.returncode == 0, (
            f"compose {' '.join(arguments)}:\n{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}"
        )
        return outcome.stdout

    def start(self) -> None:
        """Builds the images, starts the system, waits until it is ready, and notes what that took."""
        subprocess.run(["bash", "docker/base-image.sh"], cwd=ROOT, check=True, timeout=300)
        began = time.monotonic()
        self("build", timeout_s=BUILD_TIMEOUT_S)
        built = time.monotonic()
        self("up", "--detach", timeout_s=READY_TIMEOUT_S)
        eventually(is_ready, "the system in containers is ready", READY_TIMEOUT_S)
        self._become_operator()
        self.figures = [
            f"images built, less what was there already, in {built - began:.0f} s",
            f"ready {time.monotonic() - built:.0f} s after that",
            *_images(),
            *self._idle_memory(),
        ]

    def remove_everything(self) -> None:
        """Containers and volumes are gone afterwards; a network goes if the engine lets it.

        The engine sometimes keeps the endpoint of a container that was restarted and is gone, and then the network too.
        """
        self("stop", "--timeout", "10")
        self("rm", "--force", "-v")
        of_project = ("--filter", f"label=com.docker.compose.project={self.project}")
        volumes = docker("volume", "ls", "--quiet", *of_project).split()
        docker("volume", "rm", *volumes)
        use_credentials(CLEAR_TEXT)
        if self.operator is not None:
            del os.environ["TLS_DIR"]
            shutil.rmtree(self.operator)
        subprocess.run(["docker", "network", "prune", "--force", *of_project], capture_output=True, check=False)

    def container(self, service: str) -> str:
        """The id of its container."""
        return self("ps", "--quiet", service).strip()

    def inspect(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        described = json.loads(docker("inspect", *self("ps", "--quiet").split()))
        return {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in described}

    def _become_operator(self) -> None:
        """Whatever this process calls from now on, it calls as operator, at whatever address a container has.

        So do the commands that it starts.
        """
        self.operator = Path(tempfile.mkdtemp(prefix="bookstore-operator-"))
        docker("cp", f"{self.container('authority')}:/granted/operator/.", str(self.operator))
        os.environ["TLS_DIR"] = str(self.operator)
        use_credentials(MutualTls(TlsFiles(self.operator), host="localhost"))

    def _idle_memory(self) -> list[str]:
        table = docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.Name}}", *self("ps", "--quiet").split())
        used = {name: _mib(amount) for amount, *_, name in (line.split() for line in table.splitlines())}
        lines = [f"{mib:6.0f} MiB {name.removeprefix(self.project)}" for name, mib in sorted(used.items()) if mib]
        return [*lines, f"{sum(used.values()):6.0f} MiB idle memory of all containers"]


def docker_is_there() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def docker(*arguments: str) -> str:
    """What it printed. Generous in time: an engine with much to do takes long."""
    outcome = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert outcome.returncode == 0, f"docker {' '.join(arguments)}:\n{outcome.stderr[-3000:]}"
    return outcome.stdout


def is_ready() -> bool:
    try:
        return httpx.get(f"{ORCHESTRATOR_URL}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _images() -> list[str]:
    names = [f"bookstore-{name}" for name in ("services", "suggestions", "postgres", "frontend")]
    sizes = json.loads(docker("image", "inspect", *names))
    return [f"{image['Size'] / 1e6:6.0f} MB {name}" for name, image in zip(names, sizes, strict=True)]


def _mib(text: str) -> float:
    """As `docker stats` writes it, "75.2MiB"."""
    units = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "B": 1 / 1024**2}
    unit = next(unit for unit in units if text.endswith(unit))
    return float(text.removesuffix(unit)) * units[unit]
