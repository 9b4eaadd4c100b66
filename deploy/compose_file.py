"""What docker-compose.yaml says of the services: read once here, so that no fact has to be written a second time."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::-([^}]*))?}")


def read_compose() -> dict[str, Any]:
    """The file with its anchors merged, without profiles; variables such as `${NAME:-default}` stay as they are."""
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    services = compose["services"].items()
    return {**compose, "services": {name: service for name, service in services if "profiles" not in service}}


def read_compose_on_etcd() -> dict[str, Any]:
    """The same with docker/etcd.yaml laid over it, as compose does it."""
    compose = read_compose()
    added: dict[str, Any] = yaml.safe_load((ROOT / "docker/etcd.yaml").read_text())
    services = dict(compose["services"])
    for name, service in added["services"].items():
        if usual := services.get(name):
            services[name] = {
                **usual,
                "environment": {**usual["environment"], **service["environment"]},
                "networks": [*usual["networks"], *service["networks"]],
            }
        else:
            services[name] = service
    return {
        **compose,
        "services": services,
        "networks": {**compose["networks"], **added["networks"]},
        "volumes": {**compose["volumes"], **added["volumes"]},
    }


def default_of(text: str) -> str:
    """`text` as it is where none of its variables is set."""
    return _VARIABLE.sub(lambda found: found[2] or "", text)


@dataclass(frozen=True)
class Process:
    """A service of ours: which module it runs, and as whom."""

    service: str
    module: str
    node_id: str


def processes() -> tuple[Process, ...]:
    """Those that have an identity among the others, in the order of the file."""
    return tuple(
        Process(name, described["command"].removeprefix("python -m "), described["environment"]["NODE_ID"])
        for name, described in read_compose()["services"].items()
        if "NODE_ID" in described.get("environment", {}) and "profiles" not in described
    )
