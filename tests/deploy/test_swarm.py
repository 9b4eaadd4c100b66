"""The stack on a swarm of one machine: an order is approved, and orders go on while what runs is changed."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from bookstore.shop_client import order_body
from bookstore.system import free_ports
from deploy.compose_file import ROOT
from tests.containers.compose import BUILD_TIMEOUT_S, Compose, docker
from tests.e2e.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

DEPLOY_TIMEOUT_S = 900
READY_TIMEOUT_S = 240


class Swarm:
    """One machine, which is manager and worker, with a stack of the tests' own name and ports."""

    def __init__(self, secrets: Path) -> None:
        self.name = f"bookstore-test-{os.getpid()}"
        self._secrets = secrets
        ports = free_ports(("page", "rest"))
        self._ports = ("--page-port", str(ports["page"]), "--orchestrator-port", str(ports["rest"]))
        self.page_url, self.orchestrator_url = (f"http://127.0.0.1:{port}" for port in ports.values())

    def start(self) -> None:
        subprocess.run(["bash", "docker/base-image.sh"], cwd=ROOT, check=True, timeout=300)
        Compose()("build", timeout_s=BUILD_TIMEOUT_S)
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        (machine,) = docker("node", "ls", "--quiet").split()
        labels = itertools.chain.from_iterable(("--label-add", f"bookstore.{number}=true") for number in (1, 2, 3))
        docker("node", "update", *labels, machine)
        self.deploy()

    def deploy(self, **settings: str) -> None:
        """As an operator does it. Luck has no place in a test."""
        outcome = subprocess.run(
            [sys.executable, "-m", "deploy.swarm", str(self._secrets), "--name", self.name, *self._ports],
            cwd=ROOT,
            env={**os.environ, "PAYMENT_CARD_SUCCESS_RATE": "1", **settings},
            capture_output=True,
            text=True,
            timeout=DEPLOY_TIMEOUT_S,
            check=False,
        )
        assert outcome.returncode == 0, f"{outcome.stdout}\n{outcome.stderr}"
        eventually(self._is_ready, "the stack is ready", READY_TIMEOUT_S)

    def remove(self) -> None:
        of_stack = ("--filter", f"label=com.docker.stack.namespace={self.name}")
        docker("stack", "rm", self.name)
        eventually(lambda: not docker("ps", "--all", "--quiet", *of_stack), "its containers are gone", 120)
        docker("swarm", "leave", "--force")
        if volumes := docker("volume", "ls", "--quiet", *of_stack).split():
            docker("volume", "rm", *volumes)
        # What init made besides.
        subprocess.run(["docker", "network", "rm", "docker_gwbridge"], capture_output=True, check=False)

    def container(self, service: str) -> str:
        label = f"label=com.docker.swarm.service.name={self.name}_{service}"
        (container,) = docker("ps", "--quiet", "--filter", label).split()
        return container

    def services(self) -> dict[str, Any]:
        """What the swarm says of each."""
        names = docker("stack", "services", "--format", "{{.Name}}", self.name).split()
        described = json.loads(docker("service", "inspect", *names))
        return {service["Spec"]["Name"].removeprefix(f"{self.name}_"): service for service in described}

    def order(self, title: str) -> dict[str, Any]:
        response = httpx.post(
            f"{self.orchestrator_url}/checkout", json=order_body((title, 1)), timeout=60, trust_env=False
        )
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def stock(self, title: str) -> int:
        url = f"{self.orchestrator_url}/api/database/stock/{title}"
        copies: int = httpx.get(url, timeout=10, trust_env=False).json()["stock"]
        return copies

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.orchestrator_url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    if shutil.which("docker") is None:
        pytest.skip("Docker is not installed")
    asked = subprocess.run(
        ["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        pytest.skip("no Docker engine answers here")
    if asked.stdout.strip() != "inactive":
        pytest.skip("this engine belongs to a swarm already")
    swarm = Swarm(tmp_path_factory.mktemp("authority"))
    try:
        swarm.start()
        yield swarm
    finally:
        swarm.remove()


def test_an_order_is_approved(swarm: Swarm) -> None:
    assert swarm.order("Book A")["status"] == "Order Approved"
    assert httpx.get(swarm.page_url, timeout=10, trust_env=False).status_code == 200


def test_every_service_of_the_compose_file_runs_once(swarm: Swarm) -> None:
    services = swarm.services()
    assert len(services) == 16
    for name, service in services.items():
        task = service["Spec"]["TaskTemplate"]
        assert task["ContainerSpec"]["ReadOnly"] is True, name
        assert task["ContainerSpec"]["CapabilityDrop"] == ["ALL"], name
        assert task["Resources"]["Limits"].keys() == {"NanoCPUs", "MemoryBytes", "Pids"}, name
        assert service["Spec"]["UpdateConfig"]["Order"] == "stop-first", name
    published = {name for name, service in services.items() if service["Spec"]["EndpointSpec"].get("Ports")}
    assert published == {"frontend", "orchestrator"}


def test_a_caller_without_a_certificate_is_not_answered(swarm: Swarm) -> None:
    check = ("python", "-m", "utils.health_check", "order_queue_1:50054")
    orchestrator = swarm.container("orchestrator")
    assert docker("exec", orchestrator, *check) == ""
    with pytest.raises(AssertionError, match="UNAVAILABLE"):
        docker("exec", "--env", "MUTUAL_TLS=off", orchestrator, *check)


def test_payment_is_reached_by_those_who_pay_alone(swarm: Swarm) -> None:
    connect = ("timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/payment-service/50053")
    assert docker("exec", swarm.container("order_executor_1"), *connect) == ""
    for stranger in ("db-node1", "suggestions", "frontend"):
        with pytest.raises(AssertionError, match="Name or service not known"):
            docker("exec", swarm.container(stranger), *connect)


def test_orders_go_on_while_a_setting_changes(swarm: Swarm) -> None:
    """All executors are replaced, one after the other; every order that is placed meanwhile is approved."""
    before = swarm.stock("Harry Potter")
    containers = {swarm.container(f"order_executor_{number}") for number in (1, 2, 3)}
    changed = threading.Event()

    def customer() -> int:
        placed = 0
        while not changed.is_set():
            assert swarm.order("Harry Potter")["status"] == "Order Approved"
            placed += 1
        return placed

    with ThreadPoolExecutor(1) as threads:
        customers = threads.submit(customer)
        try:
            swarm.deploy(LEADERSHIP_ROTATION="every:50")
        finally:
            changed.set()
        placed = customers.result()
    assert placed > 10
    assert not containers & {swarm.container(f"order_executor_{number}") for number in (1, 2, 3)}
    assert swarm.stock("Harry Potter") == before - placed
