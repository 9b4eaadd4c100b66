"""Containers, harmed through the engine that runs them, and from beside them in their own network."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from bookstore.shop_client import CLUSTERS
from bookstore.system import ORCHESTRATOR, PAYMENT, POSTGRES, TRIO
from tests.chaos.machines import Harm
from tests.chaos.schedule import Kind
from tests.containers.compose import ORCHESTRATOR_URL, Compose, docker, is_ready
from tests.e2e.waiting import eventually

READY_TIMEOUT_S = 240
STOP_S = 10
_PORTS = {
    **dict.fromkeys(CLUSTERS["order_queue"], 50054),
    **dict.fromkeys(CLUSTERS["order_executor"], 50051),
    **dict.fromkeys(CLUSTERS["db_node"], 50052),
    PAYMENT: 50053,
}
# Where nobody listens: the address of a container that has none now.
_NOWHERE = "127.0.0.1:9"
_TOOLS = "bookstore-chaos"
_SOME_FOLLOW = re.compile(r"leads (\d+) of (?!\1)\d+ nodes")


class Containers:
    """Machines: those of a compose project that runs."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose
        names = (*_PORTS, ORCHESTRATOR, POSTGRES, *TRIO)
        running = compose.inspect()
        # A container keeps its id for as long as it is not made anew.
        self._ids = {name: str(running[name]["Id"]) for name in names}
        self._holder = str(running["chaos"]["Id"])
        password = docker("exec", self._ids[POSTGRES], "cat", "/run/secrets/postgres_password")
        self._database_url = f"postgresql://bookstore:{password}@{{}}:5432/postgres"

    @property
    def harms(self) -> Mapping[Kind, Harm]:
        return {
            Kind.KILL: self._kill,
            Kind.ABSENCE: self._kill,
            Kind.STOP: self._stop,
            Kind.PAUSE: self._pause,
            Kind.CUT_OFF: self._cut_off,
            Kind.BAD_NETWORK: self._make_network_bad,
            Kind.MOVE: self._move,
            Kind.FULL_DISK: self._fill_disk,
            Kind.POWER_CUT: self._cut_power,
            Kind.RESTART: self._restart,
        }

    @property
    def shop_port(self) -> int:
        port = httpx.URL(ORCHESTRATOR_URL).port
        assert port is not None
        return port

    @property
    def database_url(self) -> str:
        return self._database_url.format(self._host(POSTGRES))

    def address(self, name: str) -> str:
        host = self._host(name)
        return f"{host}:{_PORTS[name]}" if host else _NOWHERE

    def absent(self) -> list[str]:
        described = self._inspect(*self._ids.values())
        states = dict(zip(self._ids, (container["State"] for container in described), strict=True))
        return [name for name, state in states.items() if not state["Running"] or state["Restarting"]]

    def unhealthy(self) -> list[str]:
        return self.absent() or _unready()

    def _kill(self, nodes: list[str], duration_s: float) -> None:
        docker("kill", *self._of(nodes))
        time.sleep(duration_s)
        docker("start", *self._of(nodes))

    def _stop(self, nodes: list[str], duration_s: float) -> None:
        docker("stop", "--time", str(STOP_S), *self._of(nodes))
        time.sleep(duration_s)
        docker("start", *self._of(nodes))

    def _pause(self, nodes: list[str], duration_s: float) -> None:
        docker("pause", *self._of(nodes))
        try:
            time.sleep(duration_s)
        finally:
            docker("unpause", *self._of(nodes))

    def _cut_off(self, nodes: list[str], duration_s: float) -> None:
        networks = [(node, network) for node in nodes for network in self._networks(node)]
        for node, network in networks:
            docker("network", "disconnect", network, self._ids[node])
        try:
            time.sleep(duration_s)
        finally:
            for node, network in networks:
                docker("network", "connect", "--alias", node, network, self._ids[node])

    def _make_network_bad(self, nodes: list[str], duration_s: float) -> None:
        for node in nodes:
            self._beside(node, "bad-network.sh", "begin")
        try:
            time.sleep(duration_s)
        finally:
            for node in nodes:
                self._beside(node, "bad-network.sh", "end")

    def _move(self, nodes: list[str], _duration_s: float) -> None:
        before = {node: self._host(node) for node in nodes}
        networks = {network for node in nodes for network in self._networks(node)}
        docker("kill", *self._of(nodes))
        with _squatters(networks, len(nodes)):
            docker("start", *self._of(nodes))
        assert not [node for node in nodes if self._host(node) == before[node]]

    def _fill_disk(self, nodes: list[str], duration_s: float) -> None:
        files = [f"/full/{node}/filling" for node in nodes]
        try:
            for file in files:
                # It ends with an error: that there is no space left.
                self._in_holder(f"cat /dev/zero >{file} 2>/dev/null || true")
            time.sleep(duration_s)
        finally:
            self._in_holder(f"rm -f {' '.join(files)}")

    def _cut_power(self, _nodes: list[str], _duration_s: float) -> None:
        docker("kill", *self._ids.values())
        self._start_all()

    def _restart(self, _nodes: list[str], _duration_s: float) -> None:
        docker("stop", "--time", str(STOP_S), *self._ids.values())
        self._start_all()

    def _start_all(self) -> None:
        docker("start", *self._ids.values())
        eventually(is_ready, "the system in containers is ready again", READY_TIMEOUT_S)

    def _of(self, nodes: list[str]) -> list[str]:
        return [self._ids[node] for node in nodes]

    def _in_holder(self, command: str) -> None:
        docker("exec", self._holder, "sh", "-c", command)

    def _beside(self, node: str, *command: str) -> None:
        """Runs it in the network of a container, with the one right that the container itself does not have."""
        network = f"container:{self._ids[node]}"
        docker("run", "--rm", "--network", network, "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", _TOOLS, *command)

    def _networks(self, node: str) -> list[str]:
        (container,) = self._inspect(self._ids[node])
        return list(container["NetworkSettings"]["Networks"])

    def _host(self, node: str) -> str:
        """Its address in some network; empty when it is in none."""
        (container,) = self._inspect(self._ids[node])
        networks = container["NetworkSettings"]["Networks"].values()
        return next((str(network["IPAddress"]) for network in networks if network["IPAddress"]), "")

    @staticmethod
    def _inspect(*containers: str) -> list[dict[str, Any]]:
        described: list[dict[str, Any]] = json.loads(docker("inspect", *containers))
        return described


@contextmanager
def _squatters(networks: set[str], count: int) -> Iterator[None]:
    """Containers that take the addresses which have just become free."""
    made: list[str] = []
    try:
        for network in sorted(networks) * count:
            made += docker("run", "--detach", "--network", network, _TOOLS).split()
        yield
    finally:
        docker("rm", "--force", *made)


def _unready() -> list[str]:
    """The parts that are not all there, as the orchestrator sees them."""
    try:
        answer = httpx.get(f"{ORCHESTRATOR_URL}/readyz", timeout=5, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return [ORCHESTRATOR]
    parts = answer["components"].items()
    return [name for name, part in parts if not part["ready"] or _SOME_FOLLOW.search(part["detail"])]
