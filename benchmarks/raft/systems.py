"""Ours and pysyncobj: three processes of each, with their proposers inside them."""

import importlib.util
import json
import os
import sys
from pathlib import Path

from benchmarks.raft.cluster import WorkerCluster, WorkerProcess, unary_load
from benchmarks.raft.load import Figures, Load
from benchmarks.raft.our_node import METHOD, SERVICE
from tests.support.raft_cluster import free_ports

# More entries than any load has.
_NEVER = 10**6


class OurCluster(WorkerCluster):
    def __init__(self, directory: Path, *, snapshots: bool) -> None:
        """`snapshots`: after as many entries as the system takes them by default, or never."""
        addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
        peers = ",".join(f"node_{number}={address}" for number, address in enumerate(addresses, start=1))
        limits = {} if snapshots else {"SNAPSHOT_ENTRIES": str(_NEVER), "SNAPSHOT_LOG_BYTES": str(2**30)}
        workers = {}
        for number, address in enumerate(addresses, start=1):
            environment = {
                **os.environ,
                **limits,
                "NODE_ID": f"node_{number}",
                "BIND_HOST": "127.0.0.1",
                "PORT": address.rpartition(":")[2],
                "RAFT_PEERS": peers,
                "DATA_DIR": str(directory / str(number)),
            }
            workers[address] = WorkerProcess((sys.executable, "-m", "benchmarks.raft.our_node"), environment)
        super().__init__("ours", workers)

    async def unary_load(self, in_flight: int, seconds: float) -> Figures:
        """One unary RPC for each command, from this process to the leader that `first_commit` found."""
        load = Load(seconds=seconds)
        return await unary_load(self.leader_address, f"/{SERVICE}/{METHOD}", bytes, in_flight, load)


def pysyncobj_missing() -> str:
    """Why it cannot be measured, if so."""
    return "" if importlib.util.find_spec("pysyncobj") else "it is not among the installed packages (make setup)"


class PySyncObjCluster(WorkerCluster):
    def __init__(self, directory: Path, *, snapshots: bool) -> None:
        """`snapshots`: after as many entries as ours takes them, or never."""
        addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
        settings = {"logCompactionMinEntries": 10_000 if snapshots else _NEVER, "logCompactionMinTime": _NEVER}
        workers = {}
        for number, address in enumerate(addresses, start=1):
            data = directory / str(number)
            data.mkdir(parents=True)
            others = ",".join(other for other in addresses if other != address)
            arguments = (address, others, str(data), json.dumps(settings))
            command = (sys.executable, "-m", "benchmarks.raft.pysyncobj_node", *arguments)
            workers[address] = WorkerProcess(command, dict(os.environ))
        super().__init__("pysyncobj", workers)
