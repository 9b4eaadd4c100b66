"""Has faults happen to the machines, one at a time, and writes down when they did."""

import time
from collections.abc import Callable

from bookstore.shop_client import CLUSTERS
from tests.chaos.history import Disturbance, Recorder
from tests.chaos.machines import Machines
from tests.chaos.observer import Observer
from tests.chaos.schedule import LEADER, Fault, Kind, Target
from tests.chaos.shop_door import ShopDoor

# Generous: the machine may have much else to do.
RECOVERY_TIMEOUT_S = 120.0
_POLL_S = 0.05


class Injector:
    """After `strike` everything that a fault took is given back, though it may still be starting."""

    def __init__(
        self,
        machines: Machines,
        *,
        observer: Observer,
        door: ShopDoor,
        recorder: Recorder,
        say: Callable[[str], None],
    ) -> None:
        self._observer = observer
        self._machines = machines
        self._door = door
        self._recorder = recorder
        self._say = say

    def strike(self, fault: Fault) -> None:
        """Returns when the fault is over; the calm after it is the caller's.

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
        if not nodes:
            self._door.closed()
        self._machines.harms[fault.kind](nodes, fault.duration_s)
        self._door.opened(self._machines.shop_port)
        self._recorder.disturbed(Disturbance(what, fault.one_node, from_s, self._recorder.now_s()))

    def wait_until_running(self) -> None:
        """Until everything has been started again. Raises TimeoutError."""
        self._wait(self._machines.absent, "running")

    def wait_until_healthy(self) -> None:
        """Until everything says that it serves. Raises TimeoutError."""
        self._wait(self._machines.unhealthy, "healthy")

    def _wait(self, missing: Callable[[], list[str]], what: str) -> None:
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        while found := missing():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {what} after {RECOVERY_TIMEOUT_S:.0f} s: {found}")
            time.sleep(_POLL_S)

    def _node(self, target: Target) -> str:
        return self._observer.leader(target.cluster) if target.node == LEADER else target.node

    def _phase(self, fault: Fault, nodes: list[str]) -> str:
        """The kind of fault, for the table of gaps: which node of a cluster it was does not matter, its role does."""
        if fault.kind is Kind.CRASH:
            return f"{fault.kind} {nodes[0]}"
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
            return f"{fault.kind} one node each" + (f" and {nodes[-1]}" if len(nodes) > len(CLUSTERS) else "") + again
        return f"{fault.kind}{again}"
