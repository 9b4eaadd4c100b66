"""docker-compose.yaml as a stack file: what it says, as Swarm understands it, and what several machines need besides.

A key of the compose file that nobody has thought of here is an error: nothing is lost in silence.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.compose_file import Process, processes, read_compose, read_compose_on_etcd
from deploy.secret_files import SecretFiles

Described = dict[str, Any]

# As they are.
_KEPT: Final = (
    "command", "environment", "networks", "healthcheck", "init", "read_only", "cap_drop", "stop_grace_period",
    "logging", "user",
)  # fmt: skip
# Said in other words below. The security option has none before Engine 23: see README.md.
_TRANSLATED: Final = (
    "image", "tmpfs", "volumes", "ports", "cpus", "mem_limit", "pids_limit", "restart", "build", "depends_on",
    "security_opt",
)  # fmt: skip
_NODE: Final = re.compile(r"\D+(\d+)")
# Where a volume of secrets is mounted in containers; Swarm has secrets instead.
_SECRETS_AT: Final = "/run/"
_GRANTED_AT: Final = "/run/secrets"
_TLS_AT: Final = "/run/identity"
# What PostgreSQL and etcd are told and tell is not encrypted by itself.
_IN_CLEAR_TEXT: Final = frozenset({"order_records", "book_vectors", "etcd"})
_SERVICES_USER: Final = "10001"


@dataclass(frozen=True)
class Images:
    """Where the machines find the images: `registry` ends in a slash, or is empty for images that each of them has."""

    registry: str = ""
    tag: str = "latest"


def stack(files: SecretFiles, images: Images, *, on_etcd: bool = False) -> Described:
    """The stack file. The secrets in it are paths of `files`, made already. `on_etcd`: see docs/engines.md."""
    compose = read_compose_on_etcd() if on_etcd else read_compose()
    by_service = {process.service: process for process in processes()}
    secrets: Described = {}
    services = {
        name: _service(name, described, by_service.get(name), images, _Secrets(files, secrets))
        for name, described in compose["services"].items()
        if _runs(described)
    }
    volumes = {volume["source"] for service in services.values() for volume in service["volumes"] if "source" in volume}
    return {
        "version": "3.9",
        "services": services,
        "networks": {name: _network(name, described or {}) for name, described in compose["networks"].items()},
        "volumes": {name: {} for name in sorted(volumes)},
        "secrets": secrets,
    }


def waves(names: Sequence[str]) -> list[list[str]]:
    """In which order services are started and changed, those of a wave at once: one node of each cluster at a time.

    `docker stack deploy` would change all that it is given at once, and all nodes of a cluster among it.
    """
    numbers: dict[str, str] = {name: found[1] for name in names if (found := _NODE.fullmatch(name))}
    edge = [name for name in names if name in {"orchestrator", "frontend"}]
    others = [name for name in names if name not in numbers and name not in edge]
    nodes = [[name for name in numbers if numbers[name] == number] for number in sorted(set(numbers.values()))]
    return [others, *nodes, edge]


def _runs(described: Described) -> bool:
    """Not what makes secrets for the others, on no network, nor what only tests need."""
    return described.get("network_mode") != "none" and "profiles" not in described


def _service(
    name: str, described: Described, process: Process | None, images: Images, secrets: "_Secrets"
) -> Described:
    if unknown := described.keys() - {*_KEPT, *_TRANSLATED}:
        raise ValueError(f"nobody has said what {sorted(unknown)} of docker-compose.yaml is in a stack")
    kept: Described = {name: described[name] for name in _KEPT if name in described}
    published = [port for port in described.get("ports", ()) if not port.startswith("127.0.0.1:")]
    mounted = [volume.split(":") for volume in described.get("volumes", ())]
    granted = [source.removesuffix("_secrets") for source, target, *_ in mounted if target == _GRANTED_AT]
    service: Described = {
        **kept,
        "image": f"{images.registry}{described['image']}:{images.tag}",
        "volumes": [
            *(_volume(source, target) for source, target, *_ in mounted if not target.startswith(_SECRETS_AT)),
            *(_tmpfs(text) for text in described["tmpfs"]),
        ],
        "ports": [_port(text) for text in published],
        "secrets": [secret for holder in granted for secret in secrets.granted(holder)],
        "healthcheck": _healthcheck(described["healthcheck"]),
        "deploy": _deploy(name, described),
    }
    if process is not None:
        service["environment"] = {**described["environment"], "TLS_DIR": _TLS_AT}
        service["secrets"] += secrets.tls(process.node_id)
    return service


def _deploy(name: str, described: Described) -> Described:
    deploy: Described = {
        # A name is a task's own address: no virtual one in between that forgets connections idle for 15 minutes.
        "endpoint_mode": "dnsrr",
        "resources": {
            "limits": {
                "cpus": str(described["cpus"]),
                "memory": described["mem_limit"],
                "pids": described["pids_limit"],
            }
        },
        "restart_policy": {"condition": "any", "delay": "1s"},
        # Two processes with one identity, one volume or one port would be none: the old one ends first.
        "update_config": {"parallelism": 1, "order": "stop-first", "failure_action": "pause", "monitor": "15s"},
        "rollback_config": {"parallelism": 1, "order": "stop-first", "failure_action": "pause", "monitor": "15s"},
    }
    if any(volume.partition(":")[2].startswith("/data") for volume in described.get("volumes", ())):
        # Its volume is on one machine. Anywhere else it would be a node that has forgotten its votes.
        numbered = _NODE.fullmatch(name)
        deploy["placement"] = {"constraints": [f"node.labels.bookstore.{numbered[1] if numbered else '1'} == true"]}
    return deploy


def _healthcheck(described: Described) -> Described:
    """Alive, and nothing more: a task that is not healthy has no name, so nodes would wait for each other for ever."""
    *_, asked = described["test"]
    if found := re.fullmatch(r"localhost:(\d+)", asked):
        connects = ["CMD", "timeout", "--signal=KILL", "8", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{found[1]}"]
        described = {**described, "test": connects}
    elif "/readyz" in asked:
        described = {**described, "test": [*described["test"][:-1], asked.replace("/readyz", "/healthz")]}
    # Soon, since nobody finds it before the first one; and not given up sooner than elsewhere.
    return {**described, "interval": "2s", "retries": 30}


def _volume(source: str, target: str) -> Described:
    return {"type": "volume", "source": source, "target": target}


def _tmpfs(text: str) -> Described:
    found = re.fullmatch(r"(/\w+):size=(\d+)m", text)
    if found is None:
        raise ValueError(f"{text!r} of docker-compose.yaml is not a path and a size in MiB")
    return {"type": "tmpfs", "target": found[1], "tmpfs": {"size": int(found[2]) * 1024**2}}


def _port(text: str) -> Described:
    """On the machine where it runs, so that the address of a client stays what it is."""
    published, target = (int(part) for part in text.split(":"))
    return {"published": published, "target": target, "protocol": "tcp", "mode": "host"}


def _network(name: str, described: Described) -> Described:
    options: Described = {"driver_opts": {"encrypted": "true"}} if name in _IN_CLEAR_TEXT else {}
    return {**described, "driver": "overlay", **options}


class _Secrets:
    """Swarm's secrets never change: one with another content has another name, and its services are changed for it."""

    def __init__(self, files: SecretFiles, described: Described) -> None:
        self._files = files
        self._described = described

    def granted(self, holder: str) -> list[Described]:
        return [self._secret(path, f"{holder}.{path.name}", path.name) for path in self._files.granted_paths(holder)]

    def tls(self, node_id: str) -> list[Described]:
        return [
            {**self._secret(path, f"{node_id}.{path.name}", f"{_TLS_AT}/{path.name}"), "uid": _SERVICES_USER}
            for path in self._files.tls_paths(node_id)
        ]

    def _secret(self, path: Path, name: str, target: str) -> Described:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        self._described[name] = {"name": f"{name}.{digest}", "file": str(path)}
        return {"source": name, "target": target, "mode": 0o444 if target == path.name else 0o400}
