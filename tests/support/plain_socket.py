"""HTTP as no client library would speak it."""

import contextlib
import socket


def answered(host: str, port: int, request: bytes, timeout_s: float) -> bytes:
    """What a plain socket is told until the server closes it. Raises TimeoutError when nothing comes for so long."""
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        # The server may answer, and close, before it was told everything.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        told = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                told += part
    return told
