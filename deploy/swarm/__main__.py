"""Brings the bookstore to a Swarm, or changes the one that is there: `python -m deploy.swarm DIRECTORY`.

On a manager of the swarm. DIRECTORY keeps the secrets and the certificate authority. Services are changed in waves, one
node of each cluster at a time, and each wave has to run before the next begins.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from deploy.compose_file import processes
from deploy.secret_files import SecretFiles
from deploy.swarm.stack import Described, Images, stack, waves
from utils.identity.distribution import Member

_POLL_S = 0.5


class DeployError(Exception):
    """A wave does not run; the message says which tasks, and why."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.swarm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="where secrets and the certificate authority are kept")
    parser.add_argument("--name", default="bookstore", help="of the stack")
    parser.add_argument("--registry", default="", help="where the images are, with a slash at the end")
    parser.add_argument("--tag", default="latest", help="of the images")
    parser.add_argument("--etcd", action="store_true", help="keep all logs in an etcd that comes with it")
    parser.add_argument("--page-port", type=int, default=8080)
    parser.add_argument("--orchestrator-port", type=int, default=8081, help="the page expects 8081")
    parser.add_argument("--wave-timeout", type=float, default=600, metavar="SECONDS", help="until a wave runs")
    arguments = parser.parse_args()
    files = SecretFiles(arguments.directory.resolve())
    files.make(Member.parse(f"{process.module}/{process.node_id}") for process in processes())
    described = stack(files, Images(arguments.registry, arguments.tag), on_etcd=arguments.etcd)
    described["services"]["frontend"]["ports"][0]["published"] = arguments.page_port
    described["services"]["orchestrator"]["ports"][0]["published"] = arguments.orchestrator_port
    try:
        for wave in waves(list(described["services"])):
            print(f"{', '.join(wave)}...", flush=True)
            _deploy(arguments.name, _only(described, wave))
            _wait(arguments.name, wave, arguments.wave_timeout)
    except DeployError as error:
        sys.exit(str(error))


def _only(described: Described, wave: Collection[str]) -> Described:
    services = {name: described["services"][name] for name in wave}
    used = {secret["source"] for service in services.values() for secret in service["secrets"]}
    secrets = {name: secret for name, secret in described["secrets"].items() if name in used}
    return {**described, "services": services, "secrets": secrets}


def _deploy(name: str, described: Described) -> None:
    command = ["docker", "stack", "deploy", "--with-registry-auth", "--compose-file", "-", name]
    outcome = subprocess.run(command, input=json.dumps(described), capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise DeployError(outcome.stderr)


def _wait(name: str, wave: Collection[str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while unfinished := [service for service in wave if not _runs_as_described(f"{name}_{service}")]:
        if time.monotonic() > deadline:
            tasks = _docker("service", "ps", "--no-trunc", *(f"{name}_{service}" for service in unfinished))
            raise DeployError(f"after {timeout_s:.0f} s these do not run:\n{tasks}")
        time.sleep(_POLL_S)


def _runs_as_described(service: str) -> bool:
    """Whether each of its tasks is the one that the service now describes, and runs, which is: has been healthy."""
    (described,) = json.loads(_docker("inspect", "--type", "service", service))
    wanted = described["Spec"]["Mode"]["Replicated"]["Replicas"]
    ids = _docker("service", "ps", "--quiet", "--no-trunc", "--filter", "desired-state=running", service).split()
    tasks: list[dict[str, Any]] = json.loads(_docker("inspect", "--type", "task", *ids)) if ids else []
    runs = _said(described["Spec"]["TaskTemplate"])
    return len(tasks) == wanted and all(
        task["Status"]["State"] == "running" and _said(task["Spec"]) == runs for task in tasks
    )


def _said(template: Described) -> Described:
    """What a task runs, with which limits. The engine says of a service, and not of its tasks, what is empty."""
    return {name: value for part in ("ContainerSpec", "Resources") for name, value in template[part].items() if value}


def _docker(*arguments: str) -> str:
    outcome = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise DeployError(outcome.stderr)
    return outcome.stdout


if __name__ == "__main__":
    main()
