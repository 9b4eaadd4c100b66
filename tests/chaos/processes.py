"""Local processes, harmed by signals and by a network that falls silent: what happens to them happens in life."""

import itertools
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import psutil

from bookstore import state
from bookstore.postgres import database_url
from bookstore.running import RunningSystem
from bookstore.system import HOST, ORCHESTRATOR, PORTS, POSTGRES
from tests.chaos import crash_points
from tests.chaos.cuts import CLIENTS, CUTS, EVERYBODY, ways
from tests.chaos.machines import Harm
from tests.chaos.schedule import Kind
from tests.support.network import NetworkThread

_END_TIMEOUT_S = 60.0
# Orders go by all the time; a cluster may have to elect somebody first.
_CRASH_TIMEOUT_S = 120.0
_POLL_S = 0.05


class Processes(RunningSystem):
    """Machines: `with Processes(directory, settings) as machines:`."""

    def __init__(self, data_directory: Path, settings: Mapping[str, str]) -> None:
        self.data_directory = data_directory
        self._points = data_directory / "crash_points"
        self._network = NetworkThread(EVERYBODY, self._addresses)
        super().__init__(data_directory, settings, {name: self._way_out(name) for name in PORTS})
        self._shop_port = self._network.entrance(CLIENTS, ORCHESTRATOR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._network.close()

    @property
    def harms(self) -> Mapping[Kind, Harm]:
        return {
            Kind.KILL: self._kill,
            Kind.CRASH: self._crash,
            Kind.ABSENCE: self._keep_away,
            Kind.PAUSE: self._pause,
            Kind.POWER_CUT: self._cut_power,
            Kind.RESTART: self._restart,
            **{kind: partial(self._cut, kind) for kind in CUTS},
        }

    @property
    def shop_port(self) -> int:
        return self._shop_port

    @property
    def database_url(self) -> str:
        return database_url(self.data_directory, self.state.process(POSTGRES).port)

    def absent(self) -> list[str]:
        return [process.name for process in self.state.processes if process.pid is None]

    def unhealthy(self) -> list[str]:
        return [process.name for process in self.state.processes if not process.healthy]

    def _addresses(self) -> dict[str, str]:
        system = state.read_state(self.data_directory)
        return {} if system is None else {process.name: f"{HOST}:{process.port}" for process in system.processes}

    def _way_out(self, name: str) -> dict[str, str]:
        entrance = self._network.entrance(name, POSTGRES)
        own_url = {"DATABASE_URL": database_url(self.data_directory, entrance)}
        return {**self._network.settings_of(name), **own_url, **crash_points.settings(self._points)}

    def _kill(self, nodes: list[str], _duration_s: float) -> None:
        _signal(self._trees(nodes), signal.SIGKILL)

    def _crash(self, points: list[str], _duration_s: float) -> None:
        (point,) = points
        crash_points.arm(self._points, point)
        deadline = time.monotonic() + _CRASH_TIMEOUT_S
        while not crash_points.has_sprung(self._points):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody came to {point} in {_CRASH_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)

    def _keep_away(self, nodes: list[str], duration_s: float) -> None:
        ends_at = time.monotonic() + duration_s
        while time.monotonic() < ends_at:
            back = [node for node in nodes if self.state.process(node).pid is not None]
            _signal(self._trees(back), signal.SIGKILL)
            time.sleep(_POLL_S)

    def _pause(self, nodes: list[str], duration_s: float) -> None:
        members = self._trees(nodes)
        try:
            _signal(members, signal.SIGSTOP)
            time.sleep(duration_s)
        finally:
            _signal(members, signal.SIGCONT)

    def _cut(self, kind: Kind, nodes: list[str], duration_s: float) -> None:
        try:
            for senders, receivers in ways(kind, nodes):
                self._network.cut(senders, receivers)
            time.sleep(duration_s)
        finally:
            self._network.heal()

    def _trees(self, nodes: list[str]) -> list[psutil.Process]:
        """The processes of these nodes, with those that they have started; waits for one that is being started."""
        return list(itertools.chain.from_iterable(_tree(self.pid(node)) for node in nodes))

    def _cut_power(self, _nodes: list[str], _duration_s: float) -> None:
        running = self.state
        pids = (running.pid, *(process.pid for process in running.processes if process.pid is not None))
        members = list(dict.fromkeys(itertools.chain.from_iterable(map(_tree, pids))))
        _signal(members, signal.SIGKILL)
        self.stop()
        psutil.wait_procs(members, timeout=_END_TIMEOUT_S)
        # What the dead supervisor said of itself is no longer true.
        (self.data_directory / state.STATE_FILE).unlink(missing_ok=True)
        self.start()

    def _restart(self, _nodes: list[str], _duration_s: float) -> None:
        self.stop()
        self.start()


def _tree(pid: int) -> list[psutil.Process]:
    """Empty when it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(members: list[psutil.Process], number: signal.Signals) -> None:
    """At once: everything that takes time comes before."""
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(number)
