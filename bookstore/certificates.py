"""Certificates for a bookstore that runs here with MUTUAL_TLS=on: for each process, and for whoever operates it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bookstore.system import PAGE, ProcessSpec
from utils.config import variable
from utils.identity.authority import Authorities
from utils.identity.config import TlsConfig
from utils.identity.distribution import Member, distribute
from utils.identity.permissions import OPERATOR
from utils.rpc.transport import credentials_from, use_credentials

_LOOK_AGAIN_S = 3_600.0


@dataclass(frozen=True)
class Switch:
    """Off by default: on loopback any tool may call any process, and nobody else can."""

    mutual_tls: str = variable("MUTUAL_TLS", default="off", choices=("on", "off"))

    @property
    def is_on(self) -> bool:
        return self.mutual_tls == "on"


class Certificates:
    """Below `directory`; the authority, too, since all processes are of one user."""

    def __init__(self, directory: Path, specs: Sequence[ProcessSpec]) -> None:
        self._directory = directory
        self._authorities = Authorities(directory / "authority")
        self._specs = [spec for spec in specs if spec.probe != "postgres" and spec.name != PAGE]

    @property
    def operators(self) -> Path:
        """Whoever calls from outside proves itself with these files."""
        return self._directory / OPERATOR

    def give(self) -> None:
        """To whoever has none, or an old one."""
        # A process is of the service whose module it runs.
        names = [f"{spec.command[-1]}/{spec.name}" for spec in self._specs]
        members = [Member.parse(name) for name in (*names, f"{OPERATOR}/{OPERATOR}")]
        distribute(self._authorities, members, self._directory)

    async def keep(self) -> None:
        """Gives new ones in time, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            await asyncio.to_thread(self.give)

    def told_to(self, spec: ProcessSpec) -> ProcessSpec:
        """The process, with what it has to know."""
        if spec not in self._specs:
            return spec
        own = {"MUTUAL_TLS": "on", "TLS_DIR": str(self._directory / spec.name)}
        return replace(spec, environment={**spec.environment, **own})


def without(spec: ProcessSpec) -> ProcessSpec:
    """The process, which is to speak in clear text whatever else the environment says."""
    return replace(spec, environment={**spec.environment, "MUTUAL_TLS": "off"})


def call_as(directory: str) -> None:
    """Whoever calls from this process is whom the files in `directory` name. Empty: clear text. Raises ConfigError."""
    use_credentials(credentials_from(TlsConfig(tls_dir=directory)))
