"""Every package comes by a hash that is in the repository, is listed with what images contain, and can be audited."""

import json
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.compose_file import ROOT

INSTALLERS = (*sorted((ROOT / "docker").glob("*.Dockerfile")), ROOT / "Makefile")


def make(target: str, *settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", target, *settings], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )


def test_nothing_is_installed_without_a_hash() -> None:
    lines = [line for path in INSTALLERS for line in path.read_text().splitlines()]
    by_pip = [line for line in lines if "pip install" in line]
    by_uv = [line for line in lines if re.search(r"uv\)?\"? sync", line, re.IGNORECASE)]
    assert len(by_pip) == 2
    assert len(by_uv) == 3
    assert all("--require-hashes" in line for line in by_pip)
    assert all("--locked" in line for line in by_uv)


def test_every_locked_package_has_a_hash() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    from_registry = [package for package in packages if "registry" in package["source"]]
    assert len(from_registry) > 100
    for package in from_registry:
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        # Debian's torch is used: the one of the registry is for no platform at all.
        assert bool(files) == (package["name"] != "torch")
        assert all(file["hash"].startswith("sha256:") for file in files)


def test_the_list_of_packages_has_what_images_contain_with_hashes() -> None:
    assert make("sbom").returncode == 0
    listed = json.loads((ROOT / "build" / "sbom.json").read_text())
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.5")
    names = {component["name"] for component in listed["components"]}
    assert {"grpcio", "cryptography", "flask", "sentence-transformers"} <= names
    assert not {"pytest", "ruff"} & names
    assert all(component["purl"].startswith("pkg:pypi/") for component in listed["components"])


@pytest.fixture
def vulnerable() -> Iterator[str]:
    """The URL of what answers like osv.dev: one of the packages has a vulnerability."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            known = [{"id": "TEST-1", "modified": "2026-01-01T00:00:00Z"}]
            self._answer({"results": [{"vulns": known} if number == 0 else {} for number in range(len(asked))]})

        def do_GET(self) -> None:
            self._answer({"id": "TEST-1", "modified": "2026-01-01T00:00:00Z", "summary": "a test", "affected": []})

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, answer: object) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_known_vulnerability_is_an_error(vulnerable: str) -> None:
    audit = make("audit", f"OSV_URL={vulnerable}")
    assert audit.returncode != 0
    assert "TEST-1" in audit.stdout


def test_where_nobody_can_be_asked_that_is_said() -> None:
    # Port 9 is nobody's.
    audit = make("audit", "OSV_URL=http://127.0.0.1:9/")
    assert audit.returncode == 0
    assert "Nothing is known about vulnerabilities" in audit.stdout
