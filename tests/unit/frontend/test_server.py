"""The page's server: the page's files and nothing else, with headers that keep the page to itself."""

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from frontend import server as module
from frontend.server import PAGE, PageServer, security_headers

NGINX = Path(module.__file__).with_name("nginx.conf")


@pytest.fixture
def server() -> Iterator[PageServer]:
    server = PageServer("127.0.0.1", 0, orchestrator_port=18_081)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def http(server: PageServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?from=mail", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/js/main.js", "text/javascript; charset=utf-8"),
        ("/config.json", "application/json"),
    ],
)
def test_files_come_with_their_type_and_guards(http: httpx.Client, path: str, content_type: str) -> None:
    response = http.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Cache-Control"] == "no-cache"
    guards = security_headers(18_081)
    assert {name: response.headers.get(name) for name in guards} == guards


def test_page_may_talk_to_itself_and_the_orchestrator_only() -> None:
    policy = dict(part.split(" ", 1) for part in security_headers(18_081)["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' http://*:18081 https://*:18081"


def test_page_uses_nothing_that_its_policy_forbids() -> None:
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|https?://", page)


def test_page_is_told_where_the_orchestrator_is(http: httpx.Client) -> None:
    assert http.get("/config.json").json() == {"orchestratorPort": 18_081}


def test_container_serves_the_same_page_with_the_same_guards() -> None:
    assert json.loads((PAGE / "config.json").read_text()) == {"orchestratorPort": 8081}
    sent = dict(re.findall(r'add_header (\S+) "(.*)" always;', NGINX.read_text()))
    assert sent == {**security_headers(8081), "Cache-Control": "no-cache"}


def test_unchanged_file_is_not_sent_again(http: httpx.Client) -> None:
    etag = http.get("/style.css").headers["ETag"]
    response = http.get("/style.css", headers={"If-None-Match": f'"other", {etag}'})
    assert (response.status_code, response.content) == (304, b"")
    assert http.get("/style.css", headers={"If-None-Match": '"other"'}).status_code == 200


def test_files_are_compressed_for_those_who_can_read_it(server: PageServer) -> None:
    url = f"http://127.0.0.1:{server.port}/style.css"
    original = (PAGE / "style.css").read_bytes()
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}, trust_env=False) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        body = b"".join(response.iter_raw())
    assert gzip.decompress(body) == original
    plain = httpx.get(url, headers={"Accept-Encoding": "identity"}, trust_env=False)
    assert plain.content == original
    assert "Content-Encoding" not in plain.headers


def test_head_has_the_headers_alone(http: httpx.Client) -> None:
    response = http.head("/", headers={"Accept-Encoding": "identity"})
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["Content-Length"]) == len((PAGE / "index.html").read_bytes())


@pytest.mark.parametrize(
    "path", ["/nothing", "/js/", "/../server.py", "/js/..%2f..%2fserver.py", "/%2e%2e/config.py", "//etc/passwd"]
)
def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    # A plain socket: clients tidy paths up.
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"Content-Security-Policy" in answer


def test_other_methods_are_refused(http: httpx.Client) -> None:
    assert http.post("/", content=b"x").status_code == 501


def test_silent_clients_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    server = PageServer("127.0.0.1", 0, orchestrator_port=8081)
    server.start()
    try:
        with contextlib.ExitStack() as silent:
            for _ in range(5):
                silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            assert httpx.get(f"http://127.0.0.1:{server.port}/healthz", trust_env=False, timeout=5).json() == {
                "status": "ok"
            }
    finally:
        server.stop()


def test_a_client_that_sends_drop_by_drop_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 0.5)
    server = PageServer("127.0.0.1", 0, orchestrator_port=8081)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as dripping:
            dripping.sendall(b"GET / HTTP/1.1\r\nX: ")
            for _ in range(1_000):
                with contextlib.suppress(TimeoutError):
                    if dripping.recv(1) == b"":
                        return
                dripping.sendall(b"y")
        pytest.fail("it was listened to for 50 s")
    except ConnectionError:
        pass
    finally:
        server.stop()


def test_process_serves_until_its_signal_and_names_a_port_in_use() -> None:
    environment = {**os.environ, "BIND_HOST": "127.0.0.1", "NODE_ID": "frontend", "PORT": "0"}
    command = (sys.executable, "-m", "frontend")
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = json.loads(process.stderr.readline())["port"]
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200
        second = subprocess.run(
            command, env={**environment, "PORT": str(port)}, capture_output=True, text=True, timeout=20, check=False
        )
        assert second.returncode == 1
        assert "Address already in use" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
