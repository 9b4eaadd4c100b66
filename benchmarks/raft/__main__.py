"""Compares utils.raft with pysyncobj and, where it is installed, etcd: three processes each, 100-byte commands.

python -m benchmarks.raft [--seconds N] [--failovers N] [--entries N] [--rivals pysyncobj,etcd]

Prints commits/s and latencies at 1, 16, 64 and 1,024 in flight, the time without a leader after kill -9 of the leader
(on a quiet machine, and beside a bookstore that takes orders) and after SIGSTOP, which no transport notices, and the
time from the start of three killed processes to the first commit. The last line is one JSON object. Nothing else should
run on the machine meanwhile.
"""

import argparse
import json
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.raft import etcd
from benchmarks.raft.busy import busy_machine
from benchmarks.raft.etcd import EtcdCluster
from benchmarks.raft.phases import Runner, summary
from benchmarks.raft.systems import OurCluster, PySyncObjCluster, pysyncobj_missing

_System = type[OurCluster] | type[PySyncObjCluster] | type[EtcdCluster]
_RIVALS: dict[str, _System] = {"pysyncobj": PySyncObjCluster, "etcd": EtcdCluster}
_UNARY_IN_FLIGHT = 64
# Of the failovers, those with a leader that is stopped: they vary little, since a timeout alone ends them.
_STOPPED_PART = 0.25
# Nothing is installed from here: what is missing is said, and left out.
_MISSING: dict[str, Callable[[], str]] = {"pysyncobj": pysyncobj_missing, "etcd": etcd.missing}


async def measure(runner: Runner, make: _System, directory: Path) -> dict[str, Any]:
    """Everything of one system, with data in a directory of its own."""
    cluster = make(directory / "loaded", snapshots=True)
    runner.say(f"{cluster.name}: proposers are {cluster.proposers}")
    try:
        await cluster.start()
        figures = await runner.loads(cluster)
        if isinstance(cluster, OurCluster):
            figures["unary_64"] = await cluster.unary_load(_UNARY_IN_FLIGHT, runner.seconds)
            runner.say_figures(f"{cluster.name}, one unary RPC per command, 64 in flight", figures["unary_64"])
        failover = await runner.failover(cluster, "quiet machine")
        failover_stopped = await runner.failover(cluster, "quiet machine", signal.SIGSTOP, part=_STOPPED_PART)
        async with busy_machine():
            failover_busy = await runner.failover(cluster, "busy machine")
    finally:
        await cluster.kill()
    restart_s = {}
    for where, snapshots in (("without_snapshot", False), ("with_snapshot", True)):
        cluster = make(directory / where, snapshots=snapshots)
        try:
            restart_s[where] = await runner.restart_s(cluster, where.replace("_", " "))
        finally:
            await cluster.kill()
    return summary(
        figures,
        failover_s=failover,
        failover_stopped_s=failover_stopped,
        failover_busy_s=failover_busy,
        restart_s=restart_s,
    )


async def compare(runner: Runner, rivals: list[str]) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bookstore-raft-") as directory:
        results["ours"] = await measure(runner, OurCluster, Path(directory) / "ours")
        results["ours"]["elections_under_load"] = runner.elections_under_load
        for rival in rivals:
            if why := _MISSING[rival]():
                runner.say(f"{rival}: skipped, as {why}")
                continue
            results[rival] = await measure(runner, _RIVALS[rival], Path(directory) / rival)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.raft", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each load lasts")
    parser.add_argument("--failovers", type=int, default=20, help="how often the leader is killed")
    parser.add_argument("--entries", type=int, default=100_000, help="how many a restart begins with")
    parser.add_argument("--rivals", default=",".join(_RIVALS), help="those to compare with, comma-separated, or none")
    arguments = parser.parse_args()
    rivals = [rival for rival in arguments.rivals.split(",") if rival not in ("", "none")]
    if unknown := set(rivals) - set(_RIVALS):
        parser.error(f"no such rivals: {', '.join(sorted(unknown))}")

    def say(line: str) -> None:
        print(line, flush=True)

    say(f"{psutil.cpu_count()} cores, three processes each, one disk for all")
    runner = Runner(arguments.seconds, arguments.failovers, arguments.entries, say)
    began = time.monotonic()
    results = uvloop.run(compare(runner, rivals))
    say(f"it took {(time.monotonic() - began) / 60:.1f} minutes")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
