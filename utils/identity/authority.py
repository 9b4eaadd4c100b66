"""The certificate authority of one system, in a directory that reaches no service.

It is replaced without a gap. A new authority is trusted by everybody from the next distribution on, and signs only
`overlap` later; an old one is trusted until the last certificate that it signed has expired. Which of them signs and
which are trusted follows from their certificates alone, so that a run that is cut off leaves nothing half done.
"""

import fcntl
import ipaddress
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from utils.identity.files import write_file
from utils.identity.spiffe import TRUST_DOMAIN, Identity

LIFETIME = timedelta(hours=24)
OVERLAP = timedelta(hours=1)
AUTHORITY_LIFETIME = timedelta(days=365)
# Clocks of two machines may differ by so much.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """One authority: a self-signed certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def name(self) -> str:
        """As certificates name their issuer."""
        return self.certificate.subject.rfc4514_string()

    @property
    def made_at(self) -> datetime:
        return self.certificate.not_valid_before_utc + SKEW


@dataclass(frozen=True)
class Issued:
    certificate_pem: bytes
    key_pem: bytes


class Authorities:
    """The authority that signs, those before it that are still trusted, and the one to come. Made at first use."""

    def __init__(
        self,
        directory: Path,
        *,
        lifetime: timedelta = LIFETIME,
        overlap: timedelta = OVERLAP,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`lifetime`: of the certificates that it issues. `overlap`: for how long a new authority waits."""
        self._directory = directory
        self.overlap = overlap
        self.now = now
        self.lifetime = lifetime

    @contextmanager
    def held(self) -> Iterator[None]:
        """By one process at a time, while it changes anything."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._directory / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def refresh(self) -> None:
        """Makes the first authority, and in time the next; deletes what nobody trusts any more."""
        trusted = self._trusted()
        if not trusted or trusted[-1].certificate.not_valid_after_utc - self.now() < AUTHORITY_LIFETIME / 4:
            self.replace()
            trusted = self._trusted()
        kept = {authority.name for authority in trusted}
        for authority, path in self._all():
            if authority.name not in kept:
                path.unlink()
                path.with_suffix(".key").unlink()

    def replace(self) -> None:
        """Makes a new authority, which is trusted from now on and signs in `overlap`."""
        now = self.now()
        number = max((int(path.stem.partition("-")[2]) for _, path in self._all()), default=0) + 1
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, TRUST_DOMAIN),
                # Its own number is in it: who trusts two authorities tells them apart by their names.
                x509.NameAttribute(NameOID.COMMON_NAME, f"{TRUST_DOMAIN} authority {number}"),
            ]
        )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, name, key.public_key(), now, now + AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}")]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        path = self._directory / f"authority-{number}.pem"
        # The certificate last: without it there is no authority.
        write_file(path.with_suffix(".key"), _key_pem(key), mode=0o600)
        write_file(path, certificate.public_bytes(Encoding.PEM), mode=0o644)

    @property
    def signer(self) -> Authority:
        """The newest one that all have had time to hear of. `refresh` comes first."""
        return self._signer_of(self._trusted())

    @property
    def bundle(self) -> bytes:
        """Whom everybody is to trust, in PEM."""
        return b"".join(authority.certificate.public_bytes(Encoding.PEM) for authority in self._trusted())

    def issue(self, identity: Identity, hosts: Collection[str]) -> Issued:
        """A new key, and a certificate for it: `hosts` are the names and addresses at which others reach its owner."""
        signer, now = self.signer, self.now()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id)])
        names = [x509.UniformResourceIdentifier(identity.uri), *(_host_name(host) for host in sorted(hosts))]
        certificate = (
            _builder(subject, signer.certificate.subject, key.public_key(), now, now + self.lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        return Issued(certificate.public_bytes(Encoding.PEM), _key_pem(key))

    def _trusted(self) -> list[Authority]:
        """The oldest first."""
        now = self.now()
        authorities = [each for each, _ in self._all() if each.certificate.not_valid_after_utc > now]
        # Whatever was signed by those before one that has signed for a whole lifetime has expired.
        settled = [each for each in authorities[1:] if each.made_at + self.overlap + self.lifetime <= now]
        return authorities[authorities.index(settled[-1]) :] if settled else authorities

    def _signer_of(self, trusted: list[Authority]) -> Authority:
        now = self.now()
        return next((each for each in reversed(trusted) if each.made_at + self.overlap <= now), trusted[0])

    def _all(self) -> list[tuple[Authority, Path]]:
        found = []
        for path in self._directory.glob("authority-*.pem"):
            key = load_pem_private_key(path.with_suffix(".key").read_bytes(), password=None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            found.append((Authority(x509.load_pem_x509_certificate(path.read_bytes()), key), path))
        return sorted(found, key=lambda each: int(each[1].stem.partition("-")[2]))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(until)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
