"""The certificate authority's commands. What they work on is in the environment: see utils/identity/config.py.

python -m utils.identity issue      gives each process a certificate, where it has none or an old one
python -m utils.identity keep       the same, again and again, until it is told to end
python -m utils.identity replace    makes a new authority, which takes over by itself
python -m utils.identity show DIR   says who is named by the certificate in DIR, and how long it is valid
"""

import argparse
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from utils.config import ConfigError, from_environment
from utils.identity.authority import Authorities
from utils.identity.config import AuthorityConfig
from utils.identity.distribution import distribute
from utils.identity.files import TlsFiles


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m utils.identity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in ("issue", "keep", "replace"):
        commands.add_parser(name)
    commands.add_parser("show").add_argument("directory", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "show":
            _show(arguments.directory)
            return
        config = from_environment(AuthorityConfig)
        authorities = Authorities(
            Path(config.authority_dir),
            lifetime=timedelta(hours=config.certificate_hours),
            overlap=timedelta(hours=config.authority_overlap_hours),
        )
        if arguments.command == "replace":
            with authorities.held():
                authorities.replace()
        _issue(authorities, config)
        if arguments.command == "keep":
            _keep(authorities, config)
    except ConfigError as error:
        sys.exit(str(error))


def _issue(authorities: Authorities, config: AuthorityConfig) -> None:
    for identity in distribute(authorities, config.members, config.granted):
        print(f"a new certificate for {identity.uri}", flush=True)


def _keep(authorities: Authorities, config: AuthorityConfig) -> None:
    """Looks several times in the half of a life in which a certificate is due."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    shortest = min(authorities.lifetime / 8, authorities.overlap / 2 or authorities.lifetime)
    while not stopping.wait(shortest.total_seconds()):
        _issue(authorities, config)


def _show(directory: Path) -> None:
    certificate = TlsFiles(directory).current().certificate
    left = certificate.not_after - datetime.now(UTC)
    print(f"{certificate.identity.uri}, at {', '.join(sorted(certificate.hosts))}, valid for {left}")
    if left < (certificate.not_after - certificate.not_before) / 4:
        sys.exit("its renewal is late: does the authority run?")


if __name__ == "__main__":
    main()
