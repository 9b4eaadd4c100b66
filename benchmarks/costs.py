"""What the processes of a system have spent on orders: CPU, calls, messages, log entries and syncs."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from bookstore.running import RunningSystem
from bookstore.shop_client import CLUSTERS, runtime
from bookstore.system import ORCHESTRATOR, TRIO
from utils.pb import introspection_pb2, introspection_pb2_grpc
from utils.rpc.channel import Channel

# Less than this in a second is no work, only the pings and timers of services that wait.
_QUIET_CPU_MS: Final = 60
_QUIET_TIMEOUT_S: Final = 120
_TRIO_SERVICES: Final = (
    "VerificationPeer",
    "TransactionVerificationService",
    "FraudDetectionService",
    "SuggestionsService",
)
_NUMBER: Final = re.compile(r"[-_]?(node)?\d+$")
_CALL: Final = "rpc.server./"


@dataclass
class Costs:
    """Sums over the measured phases, or since the start."""

    orders: int = 0
    # Milliseconds by service: the nodes of a cluster count together.
    cpu_ms: Counter[str] = field(default_factory=Counter)
    # Those of utils.observe.counters, of all processes that have them.
    counters: Counter[str] = field(default_factory=Counter)
    # Entries that the log of each cluster has grown by.
    entries: Counter[str] = field(default_factory=Counter)

    def add(self, orders: int, before: "Costs", after: "Costs") -> None:
        self.orders += orders
        self.cpu_ms.update(after.cpu_ms - before.cpu_ms)
        self.counters.update(after.counters - before.counters)
        self.entries.update(after.entries - before.entries)

    def per_order(self, amount: float) -> float:
        return amount / max(1, self.orders)

    @property
    def calls(self) -> Counter[str]:
        """Served, by method."""
        return Counter({
            name.removeprefix("rpc.server."): count for name, count in self.counters.items() if name.startswith(_CALL)
        })  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """An order each."""
        verification = sum(
            count for name, count in self.calls.items() if any(f".{service}/" in name for service in _TRIO_SERVICES)
        )
        return {
            "cpu_ms_per_order": round(self.per_order(self.cpu_ms.total()), 2),
            "cpu_ms_per_order_by_service": {
                service: round(self.per_order(cpu_ms), 2) for service, cpu_ms in self.cpu_ms.most_common()
            },
            "rpcs_per_order": round(self.per_order(self.calls.total()), 1),
            "messages_per_order": round(self.per_order(self.counters["rpc.server.messages"]), 1),
            "raft_entries_per_order": {
                cluster: round(self.per_order(self.entries[cluster]), 2) for cluster in CLUSTERS
            },
            "syncs_per_order": round(self.per_order(self.counters["disk.syncs"]), 1),
            "verification_rpcs_per_order": round(self.per_order(verification), 1),
            "verification_cpu_ms_per_order": round(self.per_order(sum(self.cpu_ms[name] for name in TRIO)), 2),
        }  # fmt: skip

    def calls_table(self) -> str:
        """Calls by method, an order each."""
        lines = [f"{'calls/order':>14}  method"]
        lines += [f"{self.per_order(count):>14.2f}  {name}" for name, count in self.calls.most_common()]
        return "\n".join(lines)


def costs(system: RunningSystem) -> Costs:
    """Of all processes, since their start."""
    since_start = Costs(cpu_ms=_cpu_ms(system))
    counters = runtime().run(_counters(system))
    since_start.counters = sum(counters.values(), Counter())
    for cluster in CLUSTERS:
        applied = [counters[node]["raft.entries_applied"] for node in system.state.nodes(cluster) if node in counters]
        since_start.entries[cluster] = max(applied, default=0)
    return since_start


def _cpu_ms(system: RunningSystem) -> Counter[str]:
    spent: Counter[str] = Counter()
    for process in system.state.processes:
        if process.pid is None:
            continue
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            times = member.cpu_times()
            spent[_NUMBER.sub("", process.name)] += round((times.user + times.system) * 1_000)
    return spent


async def _counters(system: RunningSystem) -> dict[str, Counter[str]]:
    """By process."""

    async def ask(name: str) -> Counter[str]:
        channel = Channel(system.address(name))
        try:
            stub = introspection_pb2_grpc.IntrospectionServiceStub(channel)  # type: ignore[arg-type]
            answer = await stub.GetCounters(introspection_pb2.GetCountersRequest(), timeout=10)
        finally:
            await channel.close()
        return Counter(answer.counters)

    names = [process.name for process in system.state.processes if process.pid and _speaks_grpc(process.name)]
    return dict(zip(names, await asyncio.gather(*(ask(name) for name in names)), strict=True))


def settle(system: RunningSystem) -> None:
    """Returns when suggestions no longer compute the vectors of the books. Raises TimeoutError."""
    deadline = time.monotonic() + _QUIET_TIMEOUT_S
    before = _cpu_ms(system)["suggestions"]
    while True:
        time.sleep(1)
        after = _cpu_ms(system)["suggestions"]
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


def size_table(results: dict[str, dict[str, Any]], most_clients: int) -> str:
    """What an order costs, beside each other: `results` by the number of nodes in each cluster."""

    def row(name: str, values: Sequence[float]) -> str:
        return f"{name:<34}" + "".join(f"{value:>10}" for value in values)

    columns = list(results.values())
    services = columns[0]["cpu_ms_per_order_by_service"]
    return "\n".join([
        row("nodes in each cluster", [int(size) for size in results]),
        row(f"orders/s, {most_clients} clients",
            [column["clients"][str(most_clients)]["orders_per_s"] for column in columns]),
        row("ms until the answer, 1 client, p50", [column["clients"]["1"]["p50_ms"] for column in columns]),
        row("ms of verification, 1 client, p50", [column["clients"]["1"]["verification_p50_ms"] for column in columns]),
        row("calls", [column["rpcs_per_order"] for column in columns]),
        row("  in verification", [column["verification_rpcs_per_order"] for column in columns]),
        row("messages that carried them", [column["messages_per_order"] for column in columns]),
        *(row(f"log entries, {cluster}", [column["raft_entries_per_order"][cluster] for column in columns])
          for cluster in CLUSTERS),
        row("syncs", [column["syncs_per_order"] for column in columns]),
        row("CPU ms", [column["cpu_ms_per_order"] for column in columns]),
        *(row(f"  {service}", [column["cpu_ms_per_order_by_service"].get(service, 0.0) for column in columns])
          for service in services),
    ])  # fmt: skip


def _speaks_grpc(name: str) -> bool:
    return name not in ("frontend", "orchestrator", "postgres")
