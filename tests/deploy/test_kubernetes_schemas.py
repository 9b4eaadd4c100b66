"""The manifests are valid by the API's schemas, unknown fields are found, and kustomize makes of them what we think."""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.kustomization import Object
from tests.deploy.manifests import BASE, OVERLAYS, objects

# The first with everything that we use (StatefulSets that count from 1), and the newest that is known.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
_HASH = re.compile(r"-[bcdfghkmt2456789]{10}$")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("directory", [BASE, *OVERLAYS], ids=lambda path: path.name)
def test_manifests_are_valid(directory: Path, version: str) -> None:
    assert len(objects(directory)) > 30
    for found in objects(directory):
        kubernetes_validate.validate(found, version, strict=True)


def test_an_unknown_field_is_found() -> None:
    (budget, *_) = [found for found in objects(BASE) if found["kind"] == "PodDisruptionBudget"]
    with pytest.raises(kubernetes_validate.ValidationError, match="maxAvailable"):
        kubernetes_validate.validate({**budget, "spec": {"maxAvailable": 1}}, VERSIONS[0], strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("directory", [BASE, *OVERLAYS], ids=lambda path: path.name)
def test_kustomize_agrees(directory: Path) -> None:
    made = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=True).stdout
    theirs = [_without_hashes(found) for found in yaml.safe_load_all(made)]
    assert sorted(theirs, key=_key) == sorted(objects(directory), key=_key)


def _without_hashes(found: Object) -> Object:
    if found["kind"] == "ConfigMap":
        found["metadata"]["name"] = _HASH.sub("", found["metadata"]["name"])
    for container in found.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
        for source in container.get("envFrom", ()):
            source["configMapRef"]["name"] = _HASH.sub("", source["configMapRef"]["name"])
    return found


def _key(found: Object) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]
