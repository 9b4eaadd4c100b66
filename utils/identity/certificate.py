"""What a certificate says: an X.509-SVID (SPIFFE X509-SVID, sections 2 and 3), whose one URI is the identity."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from utils.identity.spiffe import Identity


@dataclass(frozen=True)
class Certificate:
    """Its chain has been checked by whoever gives it to `read_certificate`, or has not been yet."""

    identity: Identity
    # Host names and addresses at which its owner is reached.
    hosts: frozenset[str]
    not_before: datetime
    not_after: datetime
    issuer: str

    def expired(self, now: datetime) -> bool:
        return now >= self.not_after


def read_certificate(pem: bytes) -> Certificate:
    """Raises ValueError for what is no certificate, or names no identity of this system."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("a certificate without a subject alternative name") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise ValueError(f"a certificate with {len(uris)} URIs; an X509-SVID has one")
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return Certificate(
        identity=Identity.from_uri(uris[0]),
        hosts=frozenset((*names.get_values_for_type(x509.DNSName), *addresses)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issuer=certificate.issuer.rfc4514_string(),
    )
