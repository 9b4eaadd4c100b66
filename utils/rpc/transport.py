"""How the sockets of gRPC are opened: credentials and options, for every channel and server of the system."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import grpc

from utils.identity.config import TlsConfig
from utils.identity.files import TlsFiles
from utils.identity.spiffe import Identity

MESSAGE_BYTES_MAX = 16 * 1024 * 1024

_LIMITS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
]
SERVER_OPTIONS = [
    *_LIMITS,
    # A second process on a port in use must fail, not share it.
    ("grpc.so_reuseport", 0),
]
CHANNEL_OPTIONS = [
    *_LIMITS,
    # A peer that comes back is found at once, also at another address.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Despite its name this bounds one attempt to connect: a peer that drops packets must not hold a call for 20 s.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]


class Credentials(Protocol):
    """What proves who this process is, to every peer; may be renewed while it runs."""

    @property
    def identity(self) -> Identity | None:
        """None: clear text, where nobody is anybody."""

    @property
    def version(self) -> object:
        """Another one once they are renewed: channels that were opened before are to be replaced."""

    @property
    def options(self) -> Sequence[tuple[str, str]]:
        """For channels, beside CHANNEL_OPTIONS."""

    def channel(self) -> grpc.ChannelCredentials | None: ...

    def server(self) -> grpc.ServerCredentials | None: ...

    def trouble(self) -> str | None:
        """Why no peer will believe this process now; None while they will."""


class ClearText:
    identity = None
    version = None
    options = ()

    def channel(self) -> None:
        return None

    def server(self) -> None:
        return None

    def trouble(self) -> None:
        return None


class MutualTls:
    """TLS 1.2 or 1.3, which are what gRPC speaks, and a certificate on both sides."""

    def __init__(self, files: TlsFiles, *, host: str = "") -> None:
        """`host`: what servers have to be called by their certificates, for who calls them at other addresses."""
        self._files = files
        self.options: Sequence[tuple[str, str]] = [("grpc.ssl_target_name_override", host)] if host else []
        self.identity: Identity | None = files.current().certificate.identity

    @property
    def version(self) -> object:
        return self._files.current()

    def channel(self) -> grpc.ChannelCredentials:
        now = self._files.current()
        return grpc.ssl_channel_credentials(now.trusted_pem, now.key_pem, now.certificate_pem)

    def server(self) -> grpc.ServerCredentials:
        """gRPC asks for the files again with each connection that comes."""
        return grpc.dynamic_ssl_server_credentials(self._server(), self._server, require_client_authentication=True)

    def trouble(self) -> str | None:
        return self._files.trouble()

    def _server(self) -> grpc.ServerCertificateConfiguration:
        now = self._files.current()
        return grpc.ssl_server_certificate_configuration([(now.key_pem, now.certificate_pem)], now.trusted_pem)


CLEAR_TEXT: Credentials = ClearText()
_own: Credentials = CLEAR_TEXT


def use_credentials(credentials: Credentials) -> None:
    """Those of this process, for every channel and server that is opened from now on and names no others."""
    global _own  # noqa: PLW0603 a process is one somebody
    _own = credentials


def own_credentials() -> Credentials:
    return _own


def credentials_from(config: TlsConfig) -> Credentials:
    """Raises ConfigError."""
    if config.mutual_tls == "off" or not config.tls_dir:
        return CLEAR_TEXT
    return MutualTls(TlsFiles(Path(config.tls_dir)))


def open_channel(address: str, credentials: Credentials | None = None) -> grpc.aio.Channel:
    """A gRPC channel to host:port; connects when it is first used."""
    credentials = credentials or _own
    options = [*CHANNEL_OPTIONS, *credentials.options]
    proof = credentials.channel()
    if proof is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, proof, options=options)


def bind(server: grpc.aio.Server, address: str, credentials: Credentials | None = None) -> int:
    """Binds the server to host:port (port 0: any free one) and returns the port. Raises RuntimeError if in use."""
    proof = (credentials or _own).server()
    if proof is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, proof)


def backoff_s(attempt: int) -> float:
    """How long to wait before retry number `attempt` (1, 2, ...): 20 ms doubling to 320 ms, half of it jitter."""
    longest: float = 0.02 * 2 ** min(attempt - 1, 4)
    return longest * (0.5 + random.random() / 2)
