"""How the sockets of gRPC are opened: credentials and options, for every channel and server of the system."""

import random
from dataclasses import dataclass

import grpc

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


@dataclass(frozen=True)
class Credentials:
    """What proves who we are, to every peer. Empty: plain text."""

    server: grpc.ServerCredentials | None = None
    channel: grpc.ChannelCredentials | None = None


INSECURE = Credentials()


def open_channel(address: str, credentials: Credentials) -> grpc.aio.Channel:
    """A gRPC channel to host:port; connects when it is first used."""
    if credentials.channel is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(address, credentials.channel, options=CHANNEL_OPTIONS)


def bind(server: grpc.aio.Server, address: str, credentials: Credentials) -> int:
    """Binds the server to host:port (port 0: any free one) and returns the port. Raises RuntimeError if in use."""
    if credentials.server is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, credentials.server)


def backoff_s(attempt: int) -> float:
    """How long to wait before retry number `attempt` (1, 2, ...): 20 ms doubling to 320 ms, half of it jitter."""
    longest: float = 0.02 * 2 ** min(attempt - 1, 4)
    return longest * (0.5 + random.random() / 2)
