"""The manifests as the cluster would understand them: pods with their environments, services with their ends."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.compose_file import ROOT
from tests.deploy.kustomization import Object, built

KUBERNETES = ROOT / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
OVERLAYS = tuple(sorted(path.parent for path in (KUBERNETES / "overlays").glob("*/kustomization.yaml")))
_REFERENCE = re.compile(r"\$\((\w+)\)")
_POD_INDEX = "metadata.labels['apps.kubernetes.io/pod-index']"


@functools.cache
def objects(directory: Path) -> tuple[Object, ...]:
    return tuple(built(directory))


def of_kind(directory: Path, *kinds: str) -> dict[str, Object]:
    """By name."""
    return {found["metadata"]["name"]: found for found in objects(directory) if found["kind"] in kinds}


@dataclass(frozen=True)
class Pod:
    """`host`: how others call it, where it has a name of its own."""

    workload: str
    host: str
    index: int
    spec: Object
    labels: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def container(self) -> Object:
        (container,) = self.spec["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def selected_by(self, selector: Mapping[str, object]) -> bool:
        """A label selector; the empty one selects everything."""
        assert selector.keys() <= {"matchLabels", "matchExpressions"}
        expressions: list[Object] = selector.get("matchExpressions", [])  # type: ignore[assignment]
        labels: Mapping[str, str] = selector.get("matchLabels", {})  # type: ignore[assignment]
        assert all(expression["operator"] == "In" for expression in expressions)
        return labels.items() <= self.labels.items() and all(
            self.labels.get(expression["key"]) in expression["values"] for expression in expressions
        )


@functools.cache
def pods(directory: Path) -> tuple[Pod, ...]:
    return tuple(_pods(directory))


def _pods(directory: Path) -> Iterator[Pod]:
    for name, workload in of_kind(directory, "StatefulSet", "Deployment").items():
        spec = workload["spec"]
        first = spec.get("ordinals", {}).get("start", 0)
        for index in range(first, first + spec["replicas"]):
            template = spec["template"]
            host = f"{name}-{index}.{spec['serviceName']}" if workload["kind"] == "StatefulSet" else ""
            environment = _environment(directory, template["spec"]["containers"][0], index)
            yield Pod(name, host, index, template["spec"], template["metadata"]["labels"], environment)


def _environment(directory: Path, container: Object, index: int) -> dict[str, str]:
    maps = of_kind(directory, "ConfigMap")
    environment: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        environment |= maps[source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", ()):
        if "value" in variable:
            # A name that is not there is an error here; Kubernetes would leave the reference as it is.
            value = _REFERENCE.sub(lambda found: environment[found[1]], variable["value"])
        else:
            assert variable["valueFrom"] == {"fieldRef": {"fieldPath": _POD_INDEX}}
            value = str(index)
        environment[variable["name"]] = value
    return environment
