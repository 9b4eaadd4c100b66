"""The Secrets that the manifests name: `python -m deploy.kubernetes.secrets DIRECTORY | kubectl apply --filename -`.

Doing it again renews the certificates that are due; pods read them within two minutes, without being restarted.
"""

import argparse
import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.compose_file import Process, processes
from deploy.secret_files import SecretFiles
from utils.identity.distribution import Member

# Kubernetes' names have no underscores. A node's pod has the node's number.
_NODE: Final = re.compile(r"\D+(\d+)")
# How many orchestrators, each with its three services, have names in certificates.
REPLICAS_MAX: Final = 8
_NOT_REPLICATED: Final = "payment"
_HOLDERS: Final = ("orchestrator", "fraud_detection", "suggestions", "order_queue", "postgres")


def workload_of(process: Process) -> str:
    """Its StatefulSet, which has the name of its Service."""
    return (process.module if _NODE.fullmatch(process.node_id) else process.node_id).replace("_", "-")


def hosts_of(process: Process) -> tuple[str, ...]:
    """Where others reach it."""
    workload = workload_of(process)
    if number := _NODE.fullmatch(process.node_id):
        return (f"{workload}-{number[1]}.{workload}",)
    if process.module == _NOT_REPLICATED:
        return (workload,)
    return tuple(f"{workload}-{number}.{workload}" for number in range(REPLICAS_MAX))


def member_of(process: Process) -> Member:
    return Member.parse(f"{process.module}/{process.node_id}={','.join(hosts_of(process))}")


def secrets(files: SecretFiles) -> dict[str, dict[str, bytes]]:
    """By name of the Secret, what is in it."""
    made: dict[str, dict[str, bytes]] = {
        f"{holder.replace('_', '-')}-secrets": dict(files.granted(holder)) for holder in _HOLDERS
    }
    for process in processes():
        prefix = f"{process.node_id}." if _NODE.fullmatch(process.node_id) else ""
        into = made.setdefault(f"{workload_of(process)}-tls", {})
        into.update({prefix + name: data for name, data in files.tls(process.node_id).items()})
    return made


def manifest(made: Mapping[str, Mapping[str, bytes]], namespace: str) -> dict[str, Any]:
    """As `kubectl apply` takes it."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
        }
        for name, values in made.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.kubernetes.secrets", description=__doc__)
    parser.add_argument("directory", type=Path, help="where secrets and the certificate authority are kept")
    parser.add_argument("--namespace", default="bookstore")
    arguments = parser.parse_args()
    files = SecretFiles(arguments.directory)
    files.make(map(member_of, processes()))
    print(json.dumps(manifest(secrets(files), arguments.namespace)))


if __name__ == "__main__":
    main()
