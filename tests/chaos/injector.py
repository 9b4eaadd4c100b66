"""Carries faults out on a running system, with signals only: what happens to the processes is what happens in life."""

import itertools
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from bookstore import state
from bookstore.running import RunningSystem
from bookstore.shop_client import CLUSTERS
from bookstore.system import ORCHESTRATOR
from tests.chaos.history import Disturbance, Recorder
from tests.chaos.observer import Observer
from tests.chaos.schedule import LEADER, Fault, Kind, Target
from tests.chaos.shop_door import ShopDoor

RUNNING_TIMEOUT_S = 60.0
_POLL_S = 0.05


class Injector:
    """One fault at a time. After `strike` everything it took is given back, though it may still be starting."""

    def __init__(
        self,
        system: RunningSystem,
        *,
        observer: Observer,
        door: ShopDoor,
        recorder: Recorder,
        say: Callable[[str], None],
    ) -> None:
        self._observer = observer
        self._system = system
        self._door = door
        self._recorder = recorder
        self._say = say

    def strike(self, fault: Fault) -> None:
        """Returns when the fault is over; the quiet time after it is the caller's.

        Raises TimeoutError when the system does not get over the faults before it.
        """
        if not fault.into_recovery:
            self.wait_until_healthy()
        nodes = [self._node(target) for target in fault.targets]
        what = self._phase(fault, nodes)
        self._say(
            f"{what}: {', '.join(nodes) or 'all'}" + (f" for {fault.duration_s:.1f} s" if fault.duration_s else "")
        )
        from_s = self._recorder.now_s()
        match fault.kind:
            case Kind.KILL:
                _signal(self._trees(nodes), signal.SIGKILL)
            case Kind.ABSENCE:
                self._keep_away(nodes, fault.duration_s)
            case Kind.PAUSE:
                self._pause(nodes, fault.duration_s)
            case Kind.POWER_CUT:
                self._cut_power()
            case Kind.RESTART:
                self._door.closed()
                self._system.stop()
                self._start()
        self._recorder.disturbed(Disturbance(what, fault.one_node, from_s, self._recorder.now_s()))

    def wait_until_running(self) -> None:
        """Until each process has been started again. Raises TimeoutError."""
        self._wait(lambda: all(process.pid is not None for process in self._system.state.processes), "run")

    def wait_until_healthy(self) -> None:
        """Until each process says that it serves. Raises TimeoutError."""
        self._wait(lambda: all(process.healthy for process in self._system.state.processes), "healthy")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + RUNNING_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                missing = [p.name for p in self._system.state.processes if p.pid is None or not p.healthy]
                raise TimeoutError(f"not all processes are {what} after {RUNNING_TIMEOUT_S:.0f} s: {missing}")
            time.sleep(_POLL_S)

    def _node(self, target: Target) -> str:
        return self._observer.leader(target.cluster) if target.node == LEADER else target.node

    def _phase(self, fault: Fault, nodes: list[str]) -> str:
        """The kind of fault, for the table of gaps: which node of a cluster it was does not matter, its role does."""
        if fault.one_node:
            cluster = fault.targets[0].cluster
            role = "leader" if self._observer.leader(cluster) == nodes[0] else "follower"
            return f"{fault.kind} {cluster} {role}"
        again = " into recovery" if fault.into_recovery else ""
        clusters = {target.cluster for target in fault.targets}
        if len(nodes) == 1:
            return f"{fault.kind} {fault.targets[0].cluster}{again}"
        if len(clusters) == 1:
            return f"{fault.kind} all of {clusters.pop()}{again}"
        if clusters:
            return f"{fault.kind} one node each" + (" and payment" if len(nodes) > len(CLUSTERS) else "") + again
        return f"{fault.kind}{again}"

    def _keep_away(self, nodes: list[str], duration_s: float) -> None:
        ends_at = time.monotonic() + duration_s
        while time.monotonic() < ends_at:
            back = [node for node in nodes if self._system.state.process(node).pid is not None]
            _signal(self._trees(back), signal.SIGKILL)
            time.sleep(_POLL_S)

    def _pause(self, nodes: list[str], duration_s: float) -> None:
        members = self._trees(nodes)
        try:
            _signal(members, signal.SIGSTOP)
            time.sleep(duration_s)
        finally:
            _signal(members, signal.SIGCONT)

    def _trees(self, nodes: list[str]) -> list[psutil.Process]:
        """The processes of these nodes, with those that they have started; waits for one that is being started."""
        return list(itertools.chain.from_iterable(_tree(self._system.pid(node)) for node in nodes))

    def _cut_power(self) -> None:
        running = self._system.state
        self._door.closed()
        pids = (running.pid, *(process.pid for process in running.processes if process.pid is not None))
        members = list(dict.fromkeys(itertools.chain.from_iterable(map(_tree, pids))))
        _signal(members, signal.SIGKILL)
        self._system.stop()
        psutil.wait_procs(members, timeout=RUNNING_TIMEOUT_S)
        # What the dead supervisor said of itself is no longer true.
        (self._system.data_directory / state.STATE_FILE).unlink(missing_ok=True)
        self._start()

    def _start(self) -> None:
        self._system.start()
        self._door.opened(self._system.state.process(ORCHESTRATOR).port)


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
