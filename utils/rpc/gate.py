"""Who calls, and whether they may: asked once for each call, however it came."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from utils.identity.certificate import Certificate, read_certificate
from utils.identity.files import RENEW
from utils.identity.permissions import may_call
from utils.identity.spiffe import Identity
from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.rpc.errors import PermissionDenied, Unauthenticated

log = get_logger()

_PEM = "x509_pem_cert"


def certificate_of(context: Any) -> Certificate | None:
    """The caller's, from gRPC's context of a call, which has checked its chain and its time; None in clear text.

    Raises Unauthenticated for one that names nobody of this system.
    """
    presented = context.auth_context().get(_PEM)
    if not presented:
        return None
    try:
        return read_certificate(presented[0])
    except ValueError as error:
        raise Unauthenticated(f"the caller's certificate says nothing of use: {error}") from None


def check_sender(caller: Identity | None, node_id: str) -> None:
    """Whoever calls speaks for itself alone. Raises PermissionDenied."""
    if caller is not None and caller.node_id != node_id:
        raise PermissionDenied(f"{caller.uri} cannot speak for {node_id!r}")


@dataclass(frozen=True)
class Gate:
    """`own`: who is called; None in clear text, where everybody may call everything."""

    own: Identity | None

    def admit(self, caller: Certificate | None, method: str) -> None:
        """Raises Unauthenticated and PermissionDenied. A connection outlives a certificate; calls on it do not."""
        if self.own is None:
            return
        if caller is None:
            raise Unauthenticated("calls need a certificate")
        if caller.expired(datetime.now(UTC)):
            raise Unauthenticated(
                f"the certificate of {caller.identity.uri} expired at {caller.not_after:%Y-%m-%d %H:%M:%S} UTC: {RENEW}"
            )
        if not may_call(caller.identity, self.own, method):
            count("rpc.server.denied")
            log.warning("a call was refused", method=method, caller=caller.identity.uri)
            raise PermissionDenied(f"{caller.identity.uri} may not call {method} of {self.own.uri}")
