"""Which nodes a command is for: those of the bookstore that runs here, or those that are named."""

import argparse
import sys
from pathlib import Path

from bookstore.certificates import call_as
from bookstore.state import read_state
from bookstore.system import HOST
from utils.config import ConfigError, from_environment
from utils.identity.config import TlsConfig
from utils.rpc.transport import credentials_from, use_credentials


def add_nodes_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes", "--address", type=_addresses, metavar="HOST:PORT", help="of the nodes, separated by commas"
    )


def addressed_nodes(data_directory: Path, arguments: argparse.Namespace, cluster: str) -> list[str]:
    """host:port of each. Exits with the reason if there are none.

    This process is then their operator: with the files of the bookstore that runs here, or for named nodes with those
    in TLS_DIR.
    """
    try:
        if arguments.nodes:
            use_credentials(credentials_from(from_environment(TlsConfig)))
            return list(arguments.nodes)
        system = read_state(data_directory)
        if system is None:
            sys.exit("No bookstore runs here: `make up` starts one, or name the nodes of another with --nodes.")
        call_as(system.tls_dir)
    except ConfigError as error:
        sys.exit(str(error))
    return [f"{HOST}:{system.process(node).port}" for node in system.nodes(cluster)]


def _addresses(text: str) -> list[str]:
    addresses = [address.strip() for address in text.split(",")]
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit():
            raise argparse.ArgumentTypeError(f"{address!r} is not host:port")
    return addresses
