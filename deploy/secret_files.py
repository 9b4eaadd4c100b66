"""Secrets and certificates as files on an operator's machine, from where they go to Swarm or Kubernetes.

The directory is the authority over the whole system: keep it, encrypted, where no service runs. Making them again keeps
what is there, and renews the certificates that have lived half of their life.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from deploy.compose_file import ROOT
from utils.identity.authority import Authorities
from utils.identity.distribution import Member, distribute
from utils.identity.files import CERTIFICATE, KEY, TRUSTED
from utils.identity.permissions import OPERATOR

# Long, as it takes an operator to renew them; see the READMEs.
_CERTIFICATE_LIFETIME: Final = timedelta(days=90)
_AUTHORITY_OVERLAP: Final = timedelta(days=1)


class SecretFiles:
    """Below one directory, which only its owner may read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._granted = directory / "granted"
        self._tls = directory / "tls"

    def make(self, members: Iterable[Member]) -> None:
        """Whatever is missing or due. `members`: who gets a certificate, besides the operator."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        secrets = self._directory / "secrets"
        secrets.mkdir(exist_ok=True)
        paths = {"SECRETS_DIR": str(secrets), "GRANTED_DIR": str(self._granted)}
        key_file = os.environ.get("GOOGLE_API_KEY_FILE", os.devnull)
        subprocess.run(
            ["sh", "docker/make-secrets.sh"],
            cwd=ROOT,
            env={**os.environ, **paths, "GOOGLE_API_KEY_FILE": key_file},
            check=True,
        )
        for empty in (path for path in self._granted.glob("*/*") if not path.stat().st_size):
            # Swarm takes no empty secret, and whoever reads it strips it.
            empty.chmod(0o600)
            empty.write_text("\n")
        authorities = Authorities(
            self._directory / "authority", lifetime=_CERTIFICATE_LIFETIME, overlap=_AUTHORITY_OVERLAP
        )
        distribute(authorities, [*members, Member.parse(f"{OPERATOR}/{OPERATOR}")], self._tls)

    def granted(self, holder: str) -> Mapping[str, bytes]:
        """By name, what docker/make-secrets.sh grants to `holder`."""
        return {path.name: path.read_bytes() for path in self.granted_paths(holder)}

    def tls(self, node_id: str) -> Mapping[str, bytes]:
        """By name, the files of one process."""
        return {path.name: path.read_bytes() for path in self.tls_paths(node_id)}

    def granted_paths(self, holder: str) -> list[Path]:
        return sorted((self._granted / holder).iterdir())

    def tls_paths(self, node_id: str) -> list[Path]:
        return [self._tls / node_id / name for name in (TRUSTED, CERTIFICATE, KEY)]
