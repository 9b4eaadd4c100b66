"""`python -m bookstore db`: the database cluster in a person's hands.

    python -m bookstore db list stock:
    python -m bookstore db get "stock:Book A"
    python -m bookstore db set "stock:Book A" 100 --if-version 3
    python -m bookstore db take "Book A" 2
    python -m bookstore db status

Of the bookstore that runs here, or of the nodes named by --nodes: compose publishes them at 127.0.0.1:50066 to 50068.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bookstore.nodes import add_nodes_option, addressed_nodes
from utils.db_client.client import DatabaseClient, DatabaseEntry
from utils.db_client.keys import PRICE_PREFIX, STOCK_PREFIX
from utils.rpc.errors import ServiceError

TIMEOUT_S = 10.0


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `db` to the commands of `python -m bookstore`."""
    parser = commands.add_parser(
        "db",
        help="read and write the database",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_nodes_option(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    get = actions.add_parser("get", help="one key: its value, version and reserved copies")
    get.add_argument("key")
    get.add_argument("--stale", action="store_true", help="from any node, which says how old it can be")
    list_keys = actions.add_parser("list", help="every key that begins so")
    list_keys.add_argument("prefix", nargs="?", default="", help=f"such as {STOCK_PREFIX} or {PRICE_PREFIX}")
    list_keys.add_argument("--stale", action="store_true", help="from any node, which says how old it can be")
    write = actions.add_parser("set", help="write a key")
    write.add_argument("key")
    write.add_argument("value", help="a whole number, or a text")
    write.add_argument("--if-version", type=int, help="only at this version; 0: only a new key")
    take = actions.add_parser("take", help="take copies of a book from the shelf")
    take.add_argument("title")
    take.add_argument("copies", type=int)
    actions.add_parser("status", help="each node: who is primary, how far it is, what is reserved")


def run(data_directory: Path, arguments: argparse.Namespace) -> None:
    """Exits with the reason for what cannot be done."""
    nodes = addressed_nodes(data_directory, arguments, "db_node")
    try:
        asyncio.run(_act(nodes, arguments))
    except ServiceError as error:
        sys.exit(f"{error.message} ({error.code})")


async def _act(nodes: list[str], arguments: argparse.Namespace) -> None:
    database = DatabaseClient(nodes)
    try:
        match arguments.action:
            case "get" if arguments.stale:
                answer = await database.read_stale(arguments.key, timeout_s=TIMEOUT_S)
                _show(answer.entries, answer.stale_ms)
            case "get":
                _show([await database.read(arguments.key, timeout_s=TIMEOUT_S)])
            case "list" if arguments.stale:
                answer = await database.read_all_stale(arguments.prefix, timeout_s=TIMEOUT_S)
                _show(answer.entries, answer.stale_ms)
            case "list":
                _show(await database.read_all(arguments.prefix, timeout_s=TIMEOUT_S))
            case "set":
                value = int(arguments.value) if _is_integer(arguments.value) else arguments.value
                version = await database.write(
                    arguments.key, value, expected_version=arguments.if_version, timeout_s=TIMEOUT_S
                )
                print(f"{arguments.key} = {value} (version {version})")
            case "take":
                left = await database.decrement_stock(arguments.title, arguments.copies, timeout_s=TIMEOUT_S)
                print(f"{left} copies of {arguments.title} are left")
            case "status":
                await _show_status(database)
    finally:
        await database.close()


def _show(entries: Iterable[DatabaseEntry], stale_ms: int | None = 0) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("key")
    for name in ("value", "version", "reserved"):
        table.add_column(name, justify="right")
    for entry in entries:
        table.add_row(entry.key, str(entry.value), str(entry.version), str(entry.reserved))
    console = Console()
    console.print(table)
    if stale_ms != 0:
        console.print(f"At most {stale_ms} ms old." if stale_ms is not None else "How old this is, is not known.")


async def _show_status(database: DatabaseClient) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("address", "node", "role"):
        table.add_column(name)
    for name in ("term", "applied", "keys", "reservations", "at most old"):
        table.add_column(name, justify="right")
    statuses = await database.node_statuses(timeout_s=TIMEOUT_S)
    for address, status in statuses.items():
        if isinstance(status, ServiceError):
            table.add_row(address, "-", f"[red]{status.message}[/]")
            continue
        table.add_row(
            address,
            status.node_id,
            "primary" if status.is_primary else f"replica of {status.primary_id or 'nobody known'}",
            str(status.term),
            str(status.last_applied),
            str(status.keys),
            str(len(status.reservations)),
            f"{status.stale_ms} ms" if status.HasField("stale_ms") else "not known",
        )
    Console().print(table)
    if all(isinstance(status, ServiceError) for status in statuses.values()):
        sys.exit("no node answers")


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()
