"""Carries faults out on a running system, with signals only: what happens to the processes is what happens in life."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        """Returns when the fault is over; the quiet time after it is the caller's."""
        nodes = [self._node(target) for target in fault.targets]
        what = self._phase(fault, nodes)
        self._say(
            f"{what}: {', '.join(nodes) or 'all'}" + (f" for {fault.duration_s:.1f} s" if fault.duration_s else "")
        )
        from_s = self._recorder.now_s()
        match fault.kind:
            case Kind.KILL:
                for node in nodes:
                    self._signal(node, signal.SIGKILL)
            case Kind.ABSENCE:
                self._keep_away(nodes, fault.duration_s)
            case Kind.PAUSE:
                with self._paused(nodes):
                    time.sleep(fault.duration_s)
            case Kind.POWER_CUT:
                self._cut_power()
            case Kind.RESTART:
                self._door.closed()
                self._system.stop()
                self._start()
        self._recorder.disturbed(Disturbance(what, fault.one_node, from_s, self._recorder.now_s()))

    def wait_until_all_run(self) -> None:
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
        clusters = {target.cluster for target in fault.targets}
        if len(nodes) == 1:
            return f"{fault.kind} {nodes[0]}"
        if len(clusters) == 1:
            return f"{fault.kind} all of {clusters.pop()}"
        if clusters:
            return f"{fault.kind} one node each" + (" and payment" if len(nodes) > len(CLUSTERS) else "")
        return str(fault.kind)

    def _signal(self, node: str, number: signal.Signals) -> None:
        """To the process and those that it has started."""
        try:
            process = psutil.Process(self._system.pid(node))
            tree = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for member in tree:
            try:
                member.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _keep_away(self, nodes: list[str], duration_s: float) -> None:
        ends_at = time.monotonic() + duration_s
        while time.monotonic() < ends_at:
            for node in nodes:
                if self._system.state.process(node).pid is not None:
                    self._signal(node, signal.SIGKILL)
            time.sleep(_POLL_S)

    @contextmanager
    def _paused(self, nodes: list[str]) -> Iterator[None]:
        try:
            for node in nodes:
                self._signal(node, signal.SIGSTOP)
            yield
        finally:
            for node in nodes:
                self._signal(node, signal.SIGCONT)

    def _cut_power(self) -> None:
        running = self._system.state
        self._door.closed()
        members: list[psutil.Process] = []
        for pid in (running.pid, *(process.pid for process in running.processes if process.pid is not None)):
            try:
                process = psutil.Process(pid)
                members += [process, *process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        for member in dict.fromkeys(members):
            try:
                member.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._system.stop()
        psutil.wait_procs(members, timeout=RUNNING_TIMEOUT_S)
        # What the dead supervisor said of itself is no longer true.
        (self._system.data_directory / state.STATE_FILE).unlink(missing_ok=True)
        self._start()

    def _start(self) -> None:
        self._system.start()
        self._door.opened(self._system.state.process(ORCHESTRATOR).port)
