"""Which process is busy when a bookstore can do no more, and what another orchestrator with its three services changes.

python -m benchmarks.growth [--seconds N] [--clients N ...] [--cells N ...]

A cell is an orchestrator with a verification, a fraud detection and a suggestions process of its own; clients are
spread over the cells. For each number of cells and clients: orders/s, how much of a core each process took, and at how
many orders/s it would take a whole one, beyond which a Python process cannot go; the busiest first. Where the machine
has fewer cores than there are busy processes, it is full before any of them, and the table says so. The last line is
one JSON object. Nothing else should run on the machine meanwhile.
"""

import argparse
import http.client
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.checkout import COPIES, WARM_UP_S
from benchmarks.costs import settle
from benchmarks.drive import TITLES, Phase, drive
from bookstore import postgres
from bookstore.running import READY_TIMEOUT_S, STOP_TIMEOUT_S, RunningSystem
from bookstore.shop_client import set_stock
from bookstore.system import HOST, ORCHESTRATOR, POSTGRES, TRIO, free_ports, processes

CLIENTS = (8, 32, 128)
CELLS = (1, 2)
# Of the orders that one address may have in progress at an orchestrator, by default, and some more.
IN_PROGRESS_MAX = "512"
SHOWN = 6
# From here on a core, or all of them, count as taken.
SATURATED = 0.9
_POLL_S = 0.1


class Cell:
    """Started beside a system, with its clusters and its database, on ports of its own."""

    def __init__(self, system: RunningSystem, number: int) -> None:
        state = {process.name: process.port for process in system.state.processes}
        ports = {**state, **free_ports((ORCHESTRATOR, *TRIO))}
        url = postgres.database_url(system.data_directory, state[POSTGRES])
        settings = {ORCHESTRATOR: {"HTTP_THREADS_PER_ADDRESS": IN_PROGRESS_MAX, "HTTP_THREADS": IN_PROGRESS_MAX}}
        specs = processes(system.data_directory, ports, url, settings)
        self.port = ports[ORCHESTRATOR]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for spec in specs:
            if spec.name in {ORCHESTRATOR, *TRIO}:
                log = system.data_directory / "logs" / f"{spec.name}-cell{number}.log"
                with log.open("ab") as output:
                    self.processes[f"{spec.name} {number}"] = subprocess.Popen(
                        spec.command, env=dict(spec.environment), stdout=output, stderr=output
                    )

    def wait_until_ready(self) -> None:
        """Raises RuntimeError, with who has ended, if it never is."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _is_ready(self.port):
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"a cell is not ready; ended: {ended}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(STOP_TIMEOUT_S)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def _cells(system: RunningSystem, count: int) -> Iterator[list[Cell]]:
    """Those beside the first, which the system itself has."""
    with ExitStack() as stack:
        cells = []
        for number in range(2, count + 1):
            cell = Cell(system, number)
            stack.callback(cell.stop)
            cells.append(cell)
        for cell in cells:
            cell.wait_until_ready()
        yield cells


def _cpu_s(system: RunningSystem, cells: Sequence[Cell]) -> dict[str, float]:
    """Of each process, since its start."""
    pids = {process.name: process.pid for process in system.state.processes if process.pid is not None}
    pids |= {name: process.pid for cell in cells for name, process in cell.processes.items()}
    spent = {}
    for name, pid in pids.items():
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        spent[name] = sum(member.cpu_times().user + member.cpu_times().system for member in family)
    return spent


def measure(system: RunningSystem, cells: Sequence[Cell], clients: int, seconds: float) -> dict[str, Any]:
    """Orders/s, and the share of a core that each process took."""
    ports = [system.state.process(ORCHESTRATOR).port, *(cell.port for cell in cells)]
    shares = [clients // len(ports) + (index < clients % len(ports)) for index in range(len(ports))]
    before, began, machine = _cpu_s(system, cells), time.monotonic(), psutil.cpu_times()
    with ThreadPoolExecutor(len(ports)) as threads:
        phases: list[Phase] = list(threads.map(drive, ports, shares, [seconds] * len(ports)))
    elapsed = time.monotonic() - began
    after, machine_after = _cpu_s(system, cells), psutil.cpu_times()
    orders = sum(len(phase.latencies_ms) for phase in phases)
    busy = sorted(((after[name] - before[name]) / elapsed, name) for name in before if name in after)[::-1]
    cores = psutil.cpu_count() or 1
    idle = (machine_after.idle - machine.idle) / (elapsed * cores)
    return {
        "orders_per_s": round(orders / elapsed, 1),
        "errors": sum(phase.errors for phase in phases),
        "cores_taken": round(cores * (1 - idle), 2),
        "cores_by_process": {name: round(share, 2) for share, name in busy},
        "full_at_orders_per_s": {name: round(orders / elapsed / share) for share, name in busy[:SHOWN] if share},
        "saturated": _saturated(busy, cores * (1 - idle), cores),
    }


def _saturated(busy: Sequence[tuple[float, str]], taken: float, cores: int) -> str:
    share, name = busy[0]
    if share >= SATURATED:
        return name
    return "the machine" if taken >= SATURATED * cores else "nobody: more clients, or what they wait for"


def _row(cells: int, clients: int, result: Mapping[str, Any]) -> str:
    shares = ", ".join(
        f"{name} {result['cores_by_process'][name]:.2f} ({full_at})"
        for name, full_at in result["full_at_orders_per_s"].items()
    )
    figures = f"{result['orders_per_s']:>9} {result['errors']:>7} {result['cores_taken']:>6}"
    return f"{cells:>5} {clients:>8} {figures}  {result['saturated']:<16} {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each number of clients orders")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, metavar="N")
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS, metavar="N")
    arguments = parser.parse_args()
    os.environ.setdefault("HTTP_THREADS_PER_ADDRESS", IN_PROGRESS_MAX)
    os.environ.setdefault("HTTP_THREADS", IN_PROGRESS_MAX)
    results: dict[str, dict[str, Any]] = {}
    print(f"{psutil.cpu_count()} cores, which the clients share")
    columns = f"{'cells':>5} {'clients':>8} {'orders/s':>9} {'errors':>7} {'cores':>6}  {'saturated':<16}"
    print(f"{columns} cores by process (full at so many orders/s)")
    for count in arguments.cells:
        with (
            tempfile.TemporaryDirectory(prefix="bookstore-growth-") as directory,
            RunningSystem(Path(directory)) as system,
            _cells(system, count) as cells,
        ):
            set_stock(system, dict.fromkeys(TITLES, COPIES))
            for port in (system.state.process(ORCHESTRATOR).port, *(cell.port for cell in cells)):
                drive(port, 8, WARM_UP_S)
            settle(system)
            for clients in arguments.clients:
                result = measure(system, cells, clients, arguments.seconds)
                results.setdefault(str(count), {})[str(clients)] = result
                print(_row(count, clients, result), flush=True)
    print(json.dumps({"cores": psutil.cpu_count(), "cells": results}))


if __name__ == "__main__":
    main()
