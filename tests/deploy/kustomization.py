"""What `kubectl kustomize` makes of a directory, for the features that deploy/kubernetes uses; any other is an error.

It differs in one thing: generated names have no hash.
"""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]


def built(directory: Path) -> list[Object]:
    """The objects. Raises AssertionError for what is not understood, and for patches that change nothing."""
    return _objects(_build(directory))


def _build(directory: Path) -> "_Build":
    described = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert described.pop("apiVersion") == "kustomize.config.k8s.io/v1beta1"
    assert described.pop("kind") == "Kustomization"
    build = _Build()
    for name in described.pop("resources"):
        path = directory / name
        if path.is_dir():
            build.take(_build(path))
        else:
            build.objects += list(yaml.safe_load_all(path.read_text()))
    for generator in described.pop("configMapGenerator", ()):
        build.generate(**generator)
    for patch in described.pop("patches", ()):
        assert patch.keys() <= {"path", "patch", "target"}
        text = patch.get("patch") or (directory / patch["path"]).read_text()
        build.patch(yaml.safe_load(text), **patch["target"])
    for image in described.pop("images", ()):
        build.image(image["name"], f"{image['newName']}:{image['newTag']}")
    for replicas in described.pop("replicas", ()):
        (workload,) = [found for found in build.workloads() if found["metadata"]["name"] == replicas["name"]]
        workload["spec"]["replicas"] = replicas["count"]
    build.place(described.pop("namespace"))
    assert described == {}, f"{directory}: the tests do not know {sorted(described)}"
    return build


class _Build:
    def __init__(self) -> None:
        self.objects: list[Object] = []
        self.config_maps: dict[str, dict[str, str]] = {}

    def take(self, other: "_Build") -> None:
        self.objects += other.objects
        self.config_maps |= other.config_maps

    def generate(self, name: str, literals: list[str], behavior: str = "create") -> None:
        assert (behavior == "merge") == (name in self.config_maps), f"{behavior} {name}"
        pairs = dict(literal.split("=", 1) for literal in literals)
        assert len(pairs) == len(literals), f"{name} says something twice"
        self.config_maps.setdefault(name, {}).update(pairs)

    def patch(self, operations: list[Object], kind: str, name: str = ".*") -> None:
        matched = [
            found
            for found in self.objects
            if re.fullmatch(kind, found["kind"]) and re.fullmatch(name, found["metadata"]["name"])
        ]
        assert matched, f"no {kind} is called {name}"
        for found in matched:
            for operation in operations:
                _apply(found, **operation)

    def image(self, name: str, new: str) -> None:
        containers = [
            container
            for workload in self.workloads()
            for container in workload["spec"]["template"]["spec"]["containers"]
            if container["image"] == name
        ]
        assert containers, f"nothing has the image {name}"
        for container in containers:
            container["image"] = new

    def workloads(self) -> list[Object]:
        return [found for found in self.objects if found["kind"] in {"StatefulSet", "Deployment"}]

    def place(self, namespace: str) -> None:
        for found in self.objects:
            if found["kind"] == "Namespace":
                found["metadata"]["name"] = namespace
            else:
                found["metadata"]["namespace"] = namespace


def _objects(build: _Build) -> list[Object]:
    namespace = next(found["metadata"]["name"] for found in build.objects if found["kind"] == "Namespace")
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {"name": name, "namespace": namespace}}
        for name, data in build.config_maps.items()
    ]
    return build.objects + maps


def _apply(target: Object, op: str, path: str, value: Any) -> None:
    """RFC 6902, as far as it is used."""
    *parents, last = path.strip("/").split("/")
    place: Any = target
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if isinstance(place, list):
        assert (op, last) == ("add", "-"), f"{op} {path}"
        place.append(copy.deepcopy(value))
        return
    assert op == ("replace" if last in place else "add"), f"{op} {path} in {target['metadata']['name']}"
    place[last] = copy.deepcopy(value)
