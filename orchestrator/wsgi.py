"""From an ASGI request that has been read whole to a WSGI application (PEP 3333) and back."""

import sys
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

_CONSTANT: Final[WSGIEnvironment] = {
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}
# The body is here, decoded from whatever framing it came in.
_OF_THE_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True)
class Answer:
    """What the application says, whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def environ(scope: dict[str, Any], body: bytes) -> WSGIEnvironment:
    """What the application reads of an ASGI scope of type "http" and of the request's body."""
    host, port = scope["server"]
    variables = {
        **_CONSTANT,
        "REQUEST_METHOD": scope["method"],
        # Bytes as characters, as PEP 3333 has it; the scope's own path has lost what is not UTF-8.
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": scope["client"][0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
    }
    for name, value in scope["headers"]:
        # With an underscore a name could pass for another one.
        if b"_" in name or name in _OF_THE_BODY:
            continue
        variable = name.decode("latin-1").upper().replace("-", "_")
        if variable != "CONTENT_TYPE":
            variable = f"HTTP_{variable}"
        text = value.decode("latin-1")
        variables[variable] = f"{variables[variable]},{text}" if variable in variables else text
    return variables


def call(app: WSGIApplication, variables: WSGIEnvironment) -> Answer:
    """Runs the application, in this thread, to the end of its answer."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
        started.append((status, headers))

    parts = app(variables, start_response)
    try:
        body = b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = started[-1]
    return Answer(int(status.split(" ", 1)[0]), headers, body)
