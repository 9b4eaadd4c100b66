"""What the processes of a system have spent: CPU by service, calls and messages."""

import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil

from bookstore.running import RunningSystem
from bookstore.system import ORCHESTRATOR, TRIO
from utils.pb import introspection_pb2, introspection_pb2_grpc
from utils.rpc.channel import Channel

# Less than this in a second is no work, only the pings and timers of services that wait.
_QUIET_CPU_MS = 60
_QUIET_TIMEOUT_S = 120
_TRIO_SERVICES = ("VerificationPeer", "TransactionVerificationService", "FraudDetectionService", "SuggestionsService")

_NUMBER = re.compile(r"[-_]?(node)?\d+$")


@dataclass
class Costs:
    """Sums over the measured phases."""

    orders: int = 0
    cpu_ms: Counter[str] = field(default_factory=Counter)
    rpcs: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        orders: int,
        cpu_before: Counter[str],
        cpu_after: Counter[str],
        rpcs_before: Counter[str],
        rpcs_after: Counter[str],
    ) -> None:
        self.orders += orders
        self.cpu_ms.update(cpu_after - cpu_before)
        self.rpcs.update(rpcs_after - rpcs_before)

    @property
    def cpu_ms_per_order(self) -> float:
        return self.cpu_ms.total() / max(1, self.orders)

    @property
    def rpcs_per_order(self) -> float:
        return sum(count for name, count in self.rpcs.items() if name.startswith("/")) / max(1, self.orders)

    @property
    def messages_per_order(self) -> float:
        return self.rpcs["messages"] / max(1, self.orders)

    @property
    def trio_cpu_ms_per_order(self) -> float:
        """Of the three services that verify."""
        return sum(self.cpu_ms[service] for service in TRIO) / max(1, self.orders)

    @property
    def trio_rpcs_per_order(self) -> float:
        """Calls that the three serve, from the orchestrator and from each other."""
        calls = sum(
            count for name, count in self.rpcs.items() if any(f".{service}/" in name for service in _TRIO_SERVICES)
        )
        return calls / max(1, self.orders)

    def table(self) -> str:
        """CPU by service and calls by method, an order each."""
        verification = f"{self.trio_rpcs_per_order:.1f} calls, {self.trio_cpu_ms_per_order:.2f} ms of CPU"
        lines = [f"verification of an order: {verification}", f"{'CPU ms/order':>14}  service"]
        lines += [f"{cpu / max(1, self.orders):>14.2f}  {name}" for name, cpu in self.cpu_ms.most_common()]
        lines.append(f"{'calls/order':>14}  method")
        calls = [(name, count) for name, count in self.rpcs.most_common() if name.startswith("/")]
        lines += [f"{count / max(1, self.orders):>14.2f}  {name}" for name, count in calls]
        return "\n".join(lines)


def costs(system: RunningSystem) -> Counter[str]:
    """CPU milliseconds since the start, by service: the nodes of a cluster count together."""
    spent: Counter[str] = Counter()
    for process in system.state.processes:
        if process.pid is None:
            continue
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            times = member.cpu_times()
            spent[_NUMBER.sub("", process.name)] += round((times.user + times.system) * 1_000)
    return spent


async def rpcs(system: RunningSystem) -> Counter[str]:
    """Calls served since the start, by method, and "messages": batches on the streams that carried them."""

    async def ask(name: str) -> Counter[str]:
        channel = Channel(system.address(name))
        try:
            stub = introspection_pb2_grpc.IntrospectionServiceStub(channel)  # type: ignore[arg-type]
            answer = await stub.GetCounters(introspection_pb2.GetCountersRequest(), timeout=10)
        finally:
            await channel.close()
        return Counter(
            {
                name.removeprefix("rpc.server."): count
                for name, count in answer.counters.items()
                if name.startswith("rpc.server.")
            }
        )

    nodes = [process.name for process in system.state.processes if process.pid and _speaks_grpc(process.name)]
    return sum(await asyncio.gather(*(ask(node) for node in nodes)), Counter())


def settle(system: RunningSystem) -> None:
    """Returns when suggestions no longer compute the vectors of the books. Raises TimeoutError."""
    deadline = time.monotonic() + _QUIET_TIMEOUT_S
    before = costs(system)["suggestions"]
    while True:
        time.sleep(1)
        after = costs(system)["suggestions"]
        if after - before < _QUIET_CPU_MS:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"suggestions are still at work after {_QUIET_TIMEOUT_S} s")
        before = after


class VerificationTimes:
    """How long the orchestrator waited for the verification of each order, as its log says."""

    def __init__(self, system: RunningSystem) -> None:
        self._path = system.data_directory / "logs" / f"{ORCHESTRATOR}.log"
        self._offset = self._path.stat().st_size

    def read_ms(self) -> list[float]:
        """Of the orders since the last call, or since the start."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            lines = log.readlines()
            self._offset = log.tell()
        return [json.loads(line)["duration_ms"] for line in lines if b'"verification ended"' in line]


def _speaks_grpc(name: str) -> bool:
    return name not in ("frontend", "orchestrator", "postgres")
