"""`python -m bookstore orders`: an order in an operator's hands.

    python -m bookstore orders show ORDER_ID
    python -m bookstore orders refund ORDER_ID --reason "Came back unopened."
    python -m bookstore orders refund ORDER_ID --reason "The parcel was lost." --no-restock

A refund takes an approved order back, in full: payment gives back what it captured, and the copies return to the shelf
unless they are lost. What is requested once is carried out in any case, also when this command is stopped; repeated, it
asks for the same refund and shows how far that is. The customer reads the reason.

Of the bookstore that runs here, or of the order_queue's nodes named by --nodes: compose publishes them at
127.0.0.1:50071 to 50073.
"""

import argparse
import asyncio
import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path

from bookstore.nodes import add_nodes_option, addressed_nodes
from utils.pb import order_queue_pb2, order_queue_pb2_grpc, refund_pb2, refund_pb2_grpc
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import DeadlineExceeded, ServiceError, Unavailable

TIMEOUT_S = 10.0

_STATES = {
    order_queue_pb2.OrderRecord.STATE_PENDING: "pending",
    order_queue_pb2.OrderRecord.STATE_APPROVED: "approved",
    order_queue_pb2.OrderRecord.STATE_REJECTED: "rejected",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `orders` to the commands of `python -m bookstore`."""
    parser = commands.add_parser(
        "orders",
        help="look at an order, or refund it",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_nodes_option(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    show = actions.add_parser("show", help="where an order stands")
    show.add_argument("order_id")
    refund = actions.add_parser("refund", help="take an approved order back, in full")
    refund.add_argument("order_id")
    refund.add_argument("--reason", required=True, help="the customer reads it")
    refund.add_argument(
        "--no-restock", action="store_true", help="the copies are lost: they do not return to the shelf"
    )
    refund.add_argument("--operator", default=getpass.getuser(), help="who asks (default: %(default)s)")
    refund.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="for its end (default: 30)")


def run(data_directory: Path, arguments: argparse.Namespace) -> None:
    """Exits with the reason for what cannot be done; with status 1, too, if a refund is not done after the wait."""
    nodes = addressed_nodes(data_directory, arguments, "order_queue")
    try:
        asyncio.run(_act(nodes, arguments))
    except (Unavailable, DeadlineExceeded) as error:
        unknown = " Whether it is requested is not known: ask again." if arguments.action == "refund" else ""
        sys.exit(f"{error.message} ({error.code}).{unknown}")
    except ServiceError as error:
        sys.exit(f"{error.message} ({error.code})")
    except KeyboardInterrupt:
        sys.exit("Stopped. A refund that is requested goes on by itself.")


async def _act(nodes: list[str], arguments: argparse.Namespace) -> None:
    channel = ClusterChannel(nodes)
    try:
        if arguments.action == "refund":
            await _refund(channel, arguments)
        else:
            stub = order_queue_pb2_grpc.OrderQueueServiceStub(channel)  # type: ignore[arg-type]
            request = order_queue_pb2.GetOrderRequest(order_id=arguments.order_id)
            _show((await stub.GetOrder(request, timeout=TIMEOUT_S)).record)
    finally:
        await channel.close()


async def _refund(channel: ClusterChannel, arguments: argparse.Namespace) -> None:
    stub = refund_pb2_grpc.RefundServiceStub(channel)  # type: ignore[arg-type]
    request = refund_pb2.RequestRefundRequest(
        order_id=arguments.order_id,
        operator=arguments.operator,
        reason=arguments.reason,
        restock=not arguments.no_restock,
        wait_ms=max(0, int(arguments.wait * 1_000)),
    )
    record = (await stub.RequestRefund(request, timeout=arguments.wait + TIMEOUT_S)).record
    _show(record)
    if not record.refund.refund_code:
        sys.exit(f"Requested, and not done after {arguments.wait:g} s: it goes on by itself.")


def _show(record: order_queue_pb2.OrderRecord) -> None:
    print(f"order {record.order_id}: {_STATES.get(record.state, 'unknown')}")
    if record.HasField("order"):
        books = ", ".join(f"{item.quantity} × {item.title}" for item in record.order.items)
        print(f"  {books}: {record.order.amount_cents} cents")
    for reason in record.reasons:
        print(f"  {reason.message} ({reason.code})")
    if record.HasField("refund"):
        refund = record.refund
        at = datetime.fromtimestamp(refund.requested_at_ms / 1_000, UTC)
        copies = "the copies return to the shelf" if refund.restock else "the copies are lost"
        print(f"  refund requested by {refund.operator} at {at:%Y-%m-%d %H:%M:%S} UTC: {refund.reason}")
        print(f"  {copies}; " + (f"done, {refund.refund_code}" if refund.refund_code else "not done yet"))
