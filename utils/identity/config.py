"""What the environment says about identity."""

from dataclasses import dataclass
from pathlib import Path

from utils.config import ConfigError, variable
from utils.identity.distribution import Member


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """Of every process that calls or is called."""

    # Holds ca.pem, cert.pem and key.pem. Empty: clear text, and everybody may call everything.
    tls_dir: str = variable("TLS_DIR", default="")
    # The switch, for teaching without TLS.
    mutual_tls: str = variable("MUTUAL_TLS", default="on", choices=("on", "off"))


@dataclass(frozen=True, kw_only=True)
class AuthorityConfig:
    """Of `python -m utils.identity`."""

    # The authority's own keys: nobody else gets them.
    authority_dir: str = variable("AUTHORITY_DIR")
    # A directory for each process is made or renewed in here.
    granted_dir: str = variable("GRANTED_DIR")
    # Separated by spaces: service/node, or service/node=host,host.
    identities: str = variable("IDENTITIES")
    certificate_hours: float = variable("CERTIFICATE_HOURS", default=24.0, minimum=0.01, maximum=24 * 30)
    # For how long a new authority is trusted before it signs: longer than it takes until every process has its files.
    authority_overlap_hours: float = variable("AUTHORITY_OVERLAP_HOURS", default=1.0, minimum=0, maximum=24 * 30)

    @property
    def members(self) -> tuple[Member, ...]:
        """Raises ConfigError."""
        try:
            return tuple(Member.parse(text) for text in self.identities.split())
        except ValueError as error:
            raise ConfigError(f"IDENTITIES: {error}") from None

    @property
    def granted(self) -> Path:
        return Path(self.granted_dir)
