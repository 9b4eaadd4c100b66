"""Certificates for processes of a test: an authority of its own, and whoever it names."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from utils.identity.authority import LIFETIME, Authorities
from utils.identity.distribution import Member, distribute
from utils.identity.files import TlsFiles
from utils.rpc.transport import MutualTls


class Identities:
    """`directory` holds the authority and what it gives out."""

    def __init__(self, directory: Path, *, overlap: timedelta = timedelta(0)) -> None:
        self.directory = directory
        self.authorities = Authorities(directory / "authority", overlap=overlap)
        self._members: dict[str, Member] = {}

    def files_of(self, name: str) -> Path:
        """`name`: service/node. What TLS_DIR names for this process."""
        self._members.setdefault(name, Member.parse(name))
        distribute(self.authorities, [self._members[name]], self.directory)
        return self.directory / self._members[name].identity.node_id

    def of(self, name: str) -> MutualTls:
        """What this process proves itself with."""
        return MutualTls(TlsFiles(self.files_of(name)))

    def renew(self) -> None:
        """New certificates for all that were asked for, whether they are due or not."""
        for member in self._members.values():
            (self.directory / member.identity.node_id / "cert.pem").unlink()
        distribute(self.authorities, self._members.values(), self.directory)

    def replace_authority(self) -> Iterator[str]:
        """Each step leaves everybody able to talk to everybody; yields what it was."""
        self.renew()
        yield "certificates are renewed"
        first = self.authorities.signer.name
        self.authorities.overlap = timedelta(hours=1)
        self.authorities.replace()
        self.renew()
        assert self.authorities.signer.name == first
        yield "another authority is trusted, too"
        self.authorities.overlap = timedelta(0)
        self.renew()
        assert self.authorities.signer.name != first
        yield "it signs"
        oldest = min((self.directory / "authority").glob("authority-*.pem"))
        oldest.unlink()
        self.renew()
        assert self.authorities.bundle.count(b"BEGIN") == 1
        yield "it alone is trusted"

    def expiring(self, name: str, in_s: float) -> MutualTls:
        """Of the same authority: what this process has shortly before its certificate expires."""
        old = Authorities(
            self.directory / "authority", now=lambda: datetime.now(UTC) - LIFETIME + timedelta(seconds=in_s)
        )
        member = Member.parse(name)
        issued = old.issue(member.identity, member.hosts)
        directory = self.directory / "expiring"
        directory.mkdir()
        for file, data in (
            ("ca.pem", old.bundle),
            ("cert.pem", issued.certificate_pem),
            ("key.pem", issued.key_pem),
        ):
            (directory / file).write_bytes(data)
        return MutualTls(TlsFiles(directory))
