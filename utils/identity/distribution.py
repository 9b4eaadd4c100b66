"""Gives each process its directory of files (utils.identity.files), and new ones in time."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from utils.config import ConfigError
from utils.identity.authority import Authorities
from utils.identity.certificate import Certificate
from utils.identity.files import CERTIFICATE, KEY, TRUSTED, TlsFiles, write_file
from utils.identity.spiffe import Identity

# Where every process is reached on its own machine: by its health check, and at ports published on loopback.
LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Member:
    """`hosts`: names and addresses at which others reach it. Its directory has the name of its node."""

    identity: Identity
    hosts: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Member":
        """`service/node`, or `service/node=host,host` where others reach it by other names. Raises ValueError."""
        name, _, listed = text.partition("=")
        service, slash, node_id = name.partition("/")
        if not slash:
            raise ValueError(f"{text!r} is not service/node or service/node=host,host")
        hosts = [host.strip() for host in listed.split(",") if host.strip()] or [node_id]
        return cls(Identity(service, node_id), frozenset((*hosts, *LOOPBACK)))


def distribute(authorities: Authorities, members: Iterable[Member], to: Path) -> list[Identity]:
    """Renews whatever is due, below `to`; returns whose certificates are new. Doing it again changes nothing.

    A certificate is due at half of its life, and when the authority that signs, or what it has to say, is another.
    """
    renewed = []
    with authorities.held():
        authorities.refresh()
        for member in members:
            directory = to / member.identity.node_id
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Whom to trust comes first: a new certificate is of use only to those who trust its authority.
            if _bytes(directory / TRUSTED) != authorities.bundle:
                write_file(directory / TRUSTED, authorities.bundle, mode=0o644)
            if _is_due(_certificate(directory), member, authorities):
                issued = authorities.issue(member.identity, member.hosts)
                write_file(directory / KEY, issued.key_pem, mode=0o600)
                write_file(directory / CERTIFICATE, issued.certificate_pem, mode=0o644)
                renewed.append(member.identity)
    return renewed


def _is_due(certificate: Certificate | None, member: Member, authorities: Authorities) -> bool:
    return (
        certificate is None
        or (certificate.identity, certificate.hosts) != (member.identity, member.hosts)
        or certificate.issuer != authorities.signer.name
        or certificate.not_after - authorities.now() < authorities.lifetime / 2
    )


def _certificate(directory: Path) -> Certificate | None:
    """None where it has to be made again, whatever the reason."""
    try:
        return TlsFiles(directory).current().certificate
    except ConfigError:
        return None


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
