"""What a checkout costs: starts a bookstore of its own and drives POST /checkout until each order's final answer.

python -m benchmarks.checkout [--seconds N] [--cluster-nodes N ...]

For clusters of 1, 3 and 5 nodes: orders/s and p50/p95/p99 at 1, 8 and 32 clients; then, beside each other, what an
order costs with each size: calls, log entries, syncs, CPU by service. The last line is one JSON object. Nothing else
should run on the machine meanwhile.
"""

import argparse
import http.client
import itertools
import json
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.costs import Costs, VerificationTimes, costs, settle, size_table
from bookstore.running import RunningSystem
from bookstore.shop_client import order_body, set_stock
from bookstore.system import HOST, ORCHESTRATOR

CLUSTER_SIZES = (1, 3, 5)
CLIENTS = (1, 8, 32)
TITLES = ("Harry Potter", "The Great Gatsby", "To Kill a Mockingbird", "1984", "Pride and Prejudice")
COPIES = 1_000_000
WARM_UP_S = 2.0
REQUEST_TIMEOUT_S = 60
ENDED = ("Order Approved", "Order Rejected")


@dataclass
class Phase:
    """What so many clients saw."""

    clients: int
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    # Of their verification alone, as the orchestrator saw it.
    verifications_ms: list[float] = field(default_factory=list)
    errors: int = 0
    # Orders that were given an id but no end yet.
    unfinished: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        latencies = sorted(self.latencies_ms)
        percentiles = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else [0.0] * 99
        return {
            "orders_per_s": round(len(latencies) / self.seconds, 1),
            "p50_ms": round(percentiles[49], 1),
            "p95_ms": round(percentiles[94], 1),
            "p99_ms": round(percentiles[98], 1),
            "verification_p50_ms": round(statistics.median(self.verifications_ms or [0.0]), 1),
            "errors": self.errors,
        }


def drive(port: int, clients: int, seconds: float) -> Phase:
    """`clients` closed loops, each on a connection of its own, for so many seconds."""
    phase = Phase(clients)
    ends_at = time.monotonic() + seconds
    numbers = itertools.count()
    guard = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=REQUEST_TIMEOUT_S)
        while time.monotonic() < ends_at:
            body = json.dumps(order_body((TITLES[next(numbers) % len(TITLES)], 1)))
            headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
            started_at = time.monotonic()
            try:
                connection.request("POST", "/checkout", body, headers)
                response = connection.getresponse()
                answer: dict[str, Any] = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                connection.close()
                answer = {}
            elapsed_ms = (time.monotonic() - started_at) * 1_000
            with guard:
                if answer.get("status") in ENDED:
                    phase.latencies_ms.append(elapsed_ms)
                else:
                    phase.errors += 1
                    if order_id := answer.get("error", {}).get("orderId"):
                        phase.unfinished.append(order_id)
        connection.close()

    started_at = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    phase.seconds = time.monotonic() - started_at
    return phase


def lost(port: int, order_ids: list[str], timeout_s: float = 30.0) -> int:
    """How many of these orders have no end after so long."""
    connection = http.client.HTTPConnection(HOST, port, timeout=REQUEST_TIMEOUT_S)

    def ended(order_id: str) -> bool:
        connection.request("GET", f"/v2/orders/{order_id}")
        return json.loads(connection.getresponse().read()).get("status") in ENDED

    deadline = time.monotonic() + timeout_s
    open_orders = list(order_ids)
    while open_orders and time.monotonic() < deadline:
        open_orders = [order_id for order_id in open_orders if not ended(order_id)]
    return len(open_orders)


def measure(cluster_nodes: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """A system with so many nodes in each cluster, with each number of clients."""
    with (
        tempfile.TemporaryDirectory(prefix="bookstore-bench-") as directory,
        RunningSystem(Path(directory), {"CLUSTER_NODES": str(cluster_nodes)}) as system,
    ):
        set_stock(system, dict.fromkeys(TITLES, COPIES))
        port = system.state.process(ORCHESTRATOR).port
        drive(port, 8, WARM_UP_S)
        settle(system)
        verification_times = VerificationTimes(system)
        phases: list[Phase] = []
        cost = Costs()
        columns = f"{'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'verified in ms':>15} {'errors':>7}"
        say(f"{'clients':>8} {'orders/s':>9} {columns}")
        for clients in CLIENTS:
            before = costs(system)
            phase = drive(port, clients, seconds)
            cost.add(len(phase.latencies_ms), before, costs(system))
            phase.verifications_ms = verification_times.read_ms()
            phases.append(phase)
            row = phase.summary()
            say(
                f"{clients:>8} {row['orders_per_s']:>9} {row['p50_ms']:>8} {row['p95_ms']:>8} {row['p99_ms']:>8} "
                f"{row['verification_p50_ms']:>15} {row['errors']:>7}"
            )
        say(cost.calls_table())
        return {
            "clients": {str(phase.clients): phase.summary() for phase in phases},
            **cost.summary(),
            "lost": lost(port, [order_id for phase in phases for order_id in phase.unfinished]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkout", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each number of clients orders")
    parser.add_argument(
        "--cluster-nodes", type=int, nargs="+", default=CLUSTER_SIZES, metavar="N",
        help="the sizes of the clusters: a system of each is measured",
    )  # fmt: skip
    arguments = parser.parse_args()
    results = {}
    for size in arguments.cluster_nodes:
        print(f"{psutil.cpu_count()} cores; clusters of {size}", flush=True)
        results[str(size)] = measure(size, arguments.seconds, lambda line: print(line, flush=True))
    print(size_table(results, CLIENTS[-1]))
    print(json.dumps({"cluster_nodes": results}))


if __name__ == "__main__":
    main()
