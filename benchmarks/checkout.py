"""What a checkout costs: starts a bookstore of its own and drives POST /checkout until each order's final answer.

python -m benchmarks.checkout [--seconds N] [--cluster-nodes N ...]

For clusters of 1, 3 and 5 nodes: orders/s and p50/p95/p99 at 1, 8 and 32 clients; then, beside each other, what an
order costs with each size: calls, log entries, syncs, CPU by service. The last line is one JSON object. Nothing else
should run on the machine meanwhile.
"""

import argparse
import http.client
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.costs import Costs, VerificationTimes, costs, settle, size_table
from benchmarks.drive import ENDED, REQUEST_TIMEOUT_S, TITLES, Phase, drive
from bookstore.running import RunningSystem
from bookstore.shop_client import set_stock
from bookstore.system import HOST, ORCHESTRATOR

CLUSTER_SIZES = (1, 3, 5)
CLIENTS = (1, 8, 32)
COPIES = 1_000_000
WARM_UP_S = 2.0


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
