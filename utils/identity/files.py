"""The files of one process: `ca.pem` (whom it trusts), `cert.pem` (who it is), `key.pem`. They change while it runs."""

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from utils.config import ConfigError
from utils.identity.certificate import Certificate, read_certificate
from utils.observe.logging import get_logger

log = get_logger()

TRUSTED, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
RENEW = "renew it with `python -m utils.identity issue` (utils/identity/README.md)"


@dataclass(frozen=True)
class Material:
    """What the files said at one moment."""

    trusted_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    certificate: Certificate


class TlsFiles:
    """Read again when they have changed. Can be used from any thread."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError for files that are missing, broken or expired: it says which, and what to do."""
        self._directory = directory
        self._trusted, self._certificate = str(directory / TRUSTED), str(directory / CERTIFICATE)
        self._lock = threading.Lock()
        self._stamp = self._stamp_now()
        self._material = self._read()
        if trouble := self.trouble():
            raise ConfigError(trouble)

    def current(self) -> Material:
        """The newest whole set. While files are being replaced, and do not belong together, the one before."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            with self._lock:
                self._read_again(stamp)
        return self._material

    def trouble(self) -> str | None:
        """Why nobody will believe this process, as far as `current` has last seen."""
        certificate = self._material.certificate
        if not certificate.expired(datetime.now(UTC)):
            return None
        return (
            f"the certificate of {certificate.identity.uri} in {self._directory} expired at "
            f"{certificate.not_after:%Y-%m-%d %H:%M:%S} UTC: {RENEW}"
        )

    def _read_again(self, stamp: tuple[tuple[int, int], ...]) -> None:
        self._stamp = stamp
        try:
            self._material = self._read()
        except ConfigError as error:
            log.warning("new certificate files are not used, or not yet", why=str(error))
        else:
            certificate = self._material.certificate
            until = certificate.not_after.isoformat()
            log.info("the certificate is renewed", identity=certificate.identity.uri, until=until)

    def _stamp_now(self) -> tuple[tuple[int, int], ...]:
        """Asked before every call. A new key comes before its certificate, and is noticed with it."""
        return _stamp(self._trusted), _stamp(self._certificate)

    def _read(self) -> Material:
        trusted, certificate, key = (self._bytes(name) for name in (TRUSTED, CERTIFICATE, KEY))
        try:
            x509.load_pem_x509_certificates(trusted)
        except ValueError:
            raise ConfigError(f"TLS_DIR: {self._directory / TRUSTED} holds no certificate in PEM") from None
        try:
            read = read_certificate(certificate)
        except ValueError as error:
            raise ConfigError(f"TLS_DIR: {self._directory / CERTIFICATE} cannot be used: {error}") from None
        try:
            matches = _public(load_pem_private_key(key, password=None)) == _public(
                x509.load_pem_x509_certificate(certificate)
            )
        except ValueError:
            # What is wrong with it is said by nobody: the message might quote the key.
            raise ConfigError(f"TLS_DIR: {self._directory / KEY} holds no private key in PEM") from None
        if not matches:
            raise ConfigError(f"TLS_DIR: {self._directory / KEY} is not the key of {CERTIFICATE} beside it")
        return Material(trusted, certificate, key, read)

    def _bytes(self, name: str) -> bytes:
        path = self._directory / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(f"TLS_DIR: {path} cannot be read: {error.strerror}") from error


def _stamp(path: str) -> tuple[int, int]:
    try:
        # Follows links: Kubernetes swaps a link to a new directory.
        status = os.stat(path)  # noqa: PTH116 a Path would cost more than the question
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def _public(owner: object) -> bytes:
    encoded: bytes = owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Replaces the file as a whole, also at a power cut. It never has wider rights than asked for."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    partial.rename(path)
