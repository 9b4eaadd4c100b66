"""Serves the page: a handful of files that are read once, so that no path can name anything else."""

import gzip
import hashlib
import io
import json
import mimetypes
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from utils.observe.logging import get_logger

log = get_logger()

PAGE: Final = Path(__file__).with_name("page")
# A browser opens six connections; a client that says nothing is not waited for.
CONNECTIONS_MAX: Final = 128
SILENCE_S_MAX: Final = 15
STOP_POLL_INTERVAL_S: Final = 0.1


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    content_type: str
    body: bytes
    body_gzipped: bytes
    etag: str


def load_page(orchestrator_port: int, directory: Path = PAGE) -> dict[str, Asset]:
    """Every file of the page by its URL path; config.json names the orchestrator's port."""
    assets = {
        "/" + file.relative_to(directory).as_posix(): _asset(file.name, file.read_bytes())
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }
    assets["/config.json"] = _asset("config.json", json.dumps({"orchestratorPort": orchestrator_port}).encode())
    assets["/healthz"] = _asset("healthz.json", b'{"status": "ok"}')
    assets["/"] = assets["/index.html"]
    return assets


def _asset(name: str, body: bytes) -> Asset:
    content_type = {".js": "text/javascript"}.get(Path(name).suffix) or mimetypes.guess_type(name)[0]
    assert content_type is not None, f"{name} is of no known type"
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    return Asset(content_type, body, gzip.compress(body, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def security_headers(orchestrator_port: int) -> dict[str, str]:
    """The page runs its own files only, and talks to the orchestrator, on whatever name this host is known by."""
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        f"connect-src 'self' http://*:{orchestrator_port} https://*:{orchestrator_port}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


class PageServer(ThreadingHTTPServer):
    """Listens from its creation on; serves from `start` to `stop`. Raises OSError where the port is taken."""

    daemon_threads = True
    # Another process on the port is an error to be told, not somebody to share it with.
    allow_reuse_port = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, orchestrator_port: int) -> None:
        self.assets: Mapping[str, Asset] = load_page(orchestrator_port)
        self.headers_always: Mapping[str, str] = security_headers(orchestrator_port)
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(STOP_POLL_INTERVAL_S,), name="page", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on, also where 0 was asked for."""
        return int(self.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Takes no new connections. The page keeps nothing that could be lost."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection, and a bound on them: more wait to be accepted."""
        self._slots.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Gives the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no error of ours; anything else is."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("a request to the page failed", cause=repr(error))


class _RequestReader(io.RawIOBase):
    """Reads from a connection until a time that is set for each request: drop by drop takes no longer than at once."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self.begin()

    def begin(self) -> None:
        """The time of the next request begins."""
        self._ends_at = time.monotonic() + self._timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError, after which the base class closes the connection."""
        if (left_s := self._ends_at - time.monotonic()) <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._timeout_s)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S_MAX
    server: PageServer

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = _RequestReader(self.connection, self.timeout)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._reader.begin()
        super().handle_one_request()

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def _serve(self, *, with_body: bool) -> None:
        asset = self.server.assets.get(unquote(urlsplit(self.path).path))
        if asset is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        # Files keep their names when they change: a browser asks each time, and mostly hears that it has them.
        if asset.etag in (tag.strip() for tag in self.headers.get("If-None-Match", "").split(",")):
            self._answer(HTTPStatus.NOT_MODIFIED, asset, None, with_body=False)
        elif "gzip" in self.headers.get("Accept-Encoding", ""):
            self._answer(HTTPStatus.OK, asset, asset.body_gzipped, with_body=with_body, encoding="gzip")
        else:
            self._answer(HTTPStatus.OK, asset, asset.body, with_body=with_body)

    def _answer(
        self, status: HTTPStatus, asset: Asset, body: bytes | None, *, with_body: bool, encoding: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("ETag", asset.etag)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Vary", "Accept-Encoding")
        if body is not None:
            self.send_header("Content-Type", asset.content_type)
            self.send_header("Content-Length", str(len(body)))
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        if body is not None and with_body:
            self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in self.server.headers_always.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """What the Server header says."""
        return "bookstore"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Requests are not logged, as with nginx: whatever somebody puts into an address stays out of the log."""
