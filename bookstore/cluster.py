"""`python -m bookstore cluster`: who belongs to a cluster of nodes, and how that changes.

    python -m bookstore cluster status order_queue
    python -m bookstore cluster add order_queue order_queue_4 127.0.0.1:15079
    python -m bookstore cluster remove order_queue order_queue_1
    python -m bookstore cluster replace order_queue order_queue_2
    python -m bookstore cluster transfer order_queue order_queue_3
    python -m bookstore cluster snapshot order_queue

Of the bookstore that runs here, or of the nodes named by --nodes: compose publishes those of order_queue at
127.0.0.1:50071 to 50073, of order_executor at 50061 to 50063, of db_node at 50066 to 50068.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bookstore.nodes import add_nodes_option, addressed_nodes
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import DeadlineExceeded, ServiceError, Unavailable, Unimplemented

CLUSTERS = ("order_queue", "order_executor", "db_node")
TIMEOUT_S = 15.0
# Of a node that may not be there at all.
_LOOK_TIMEOUT_S = 2.0
_LOOK_AGAIN_S = 0.5
_TABLE_WIDTH = 120

Description = raft_pb2.DescribeClusterResponse


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `cluster` to the commands of `python -m bookstore`."""
    parser = commands.add_parser(
        "cluster",
        help="see and change which nodes a cluster has",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_nodes_option(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")

    def action(name: str, what: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=what, description=what)
        added.add_argument("cluster", choices=CLUSTERS)
        return added

    def add_wait(to: argparse.ArgumentParser) -> None:
        to.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="at most so long (default: 60)")

    action("status", "each node: its role, term, and how far it is")
    add = action("add", "add a node as a learner, and wait until it has caught up and is a voter")
    add.add_argument("node")
    add.add_argument("address", help="host:port at which the other nodes reach it")
    add_wait(add)
    action("remove", "remove a node, also the leader").add_argument("node")
    replace = action("replace", "replace a node by one of the same name with an empty disk")
    replace.add_argument("node")
    add_wait(replace)
    action("transfer", "hand leadership over").add_argument("node", nargs="?", default="", help="default: any")
    action("snapshot", "have nodes take a snapshot").add_argument("node", nargs="?", help="default: all")


def run(data_directory: Path, arguments: argparse.Namespace) -> None:
    """Exits with the reason for what cannot be done."""
    addresses = addressed_nodes(data_directory, arguments, arguments.cluster)
    try:
        asyncio.run(act(addresses, arguments))
    except ServiceError as error:
        sys.exit(f"{error.message} ({error.code})")


async def act(addresses: Sequence[str], arguments: argparse.Namespace) -> None:
    """Raises ServiceError; exits with the reason for what cannot be done."""
    async with contextlib.AsyncExitStack() as stack:
        cluster = _Cluster(addresses, stack)
        await cluster.look()
        match arguments.action:
            case "status":
                _show(cluster)
            case "add":
                request = raft_pb2.AddNodeRequest(node_id=arguments.node, address=arguments.address)
                await cluster.ask_leader("AddNode", request)
                print(f"{arguments.node} is a learner; it becomes a voter once it runs and has caught up.")
                await _until_voter(cluster, arguments)
            case "remove":
                cluster.check_member(arguments.node)
                await cluster.ask_leader("RemoveNode", raft_pb2.RemoveNodeRequest(node_id=arguments.node))
                print(f"{arguments.node} is removed: its process can be stopped, and its disk deleted.")
            case "replace":
                await cluster.ask_leader("RemoveNode", raft_pb2.RemoveNodeRequest(node_id=arguments.node))
                print(
                    f"{arguments.node} is removed. Waiting for its successor: start it with an empty data directory "
                    f"and RAFT_JOIN={cluster.leader_address}"
                )
                await _until_voter(cluster, arguments)
            case "transfer":
                target = raft_pb2.TransferLeadershipRequest(node_id=arguments.node)
                await cluster.ask_leader("TransferLeadership", target)
                print(f"{await cluster.next_leader()} leads now.")
            case "snapshot":
                if arguments.node:
                    cluster.check_answers(arguments.node)
                for node_id in [arguments.node] if arguments.node else list(cluster.nodes):
                    response = await cluster.ask(node_id, "TakeSnapshot", raft_pb2.TakeSnapshotRequest())
                    print(f"{node_id}: a snapshot of the entries up to {response.last_included_index} is on its disk")


class _Cluster:
    """The nodes that answer. They are reached at the addresses named, which may not be those of the configuration."""

    def __init__(self, addresses: Sequence[str], stack: contextlib.AsyncExitStack) -> None:
        self._addresses = addresses
        self._stack = stack
        self._stubs: dict[str, Any] = {}
        # By node id: its address, and what it says.
        self.nodes: dict[str, tuple[str, Description]] = {}

    async def look(self) -> None:
        """Exits if nobody answers."""
        self.nodes = {}
        await self._describe(self._addresses)
        if not self.nodes:
            sys.exit(f"no node answers at {', '.join(self._addresses)}")
        # Nodes that came later.
        members = {member.node_id: member.address for member in self.newest.members if member.node_id not in self.nodes}
        await self._describe([address for address in members.values() if address not in self._addresses])

    @property
    def newest(self) -> Description:
        """Of the leader, if it answers."""
        descriptions = [description for _, description in self.nodes.values()]
        return max(descriptions, key=lambda each: (each.status.term, each.status.role == "leader"))

    @property
    def leader_address(self) -> str:
        """Where the leader is for its peers."""
        status = self.newest.status
        return status.leader_address or next(iter(self.newest.members)).address

    def check_member(self, node_id: str) -> None:
        members = [member.node_id for member in self.newest.members]
        if node_id not in members:
            sys.exit(f"{node_id} is no member: the members are {', '.join(members)}")

    def check_answers(self, node_id: str) -> None:
        if node_id not in self.nodes:
            sys.exit(f"{node_id} does not answer: {', '.join(self.nodes)} do; name its address with --nodes")

    async def ask_leader(self, method: str, request: Any) -> Any:
        """Follows leadership where it goes meanwhile."""
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            leader_id = self.newest.status.leader_id
            if leader_id in self.nodes:
                # If another leads now, or the answer was lost: what is asked for twice happens once.
                with contextlib.suppress(Unavailable, DeadlineExceeded):
                    return await self.ask(leader_id, method, request)
            await asyncio.sleep(_LOOK_AGAIN_S)
            await self.look()
        sys.exit(self._why_no_leader(self.newest.status.leader_id))

    async def next_leader(self) -> str:
        """Who leads in a later term than the last one seen. Exits if nobody does soon."""
        term, deadline = self.newest.status.term, asyncio.get_running_loop().time() + TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            await self.look()
            status = self.newest.status
            if status.leader_id and status.term > term:
                return status.leader_id
            await asyncio.sleep(_LOOK_AGAIN_S)
        sys.exit(self._why_no_leader(""))

    async def ask(self, node_id: str, method: str, request: Any) -> Any:
        return await getattr(self._stub(self.nodes[node_id][0]), method)(request, timeout=TIMEOUT_S)

    def _why_no_leader(self, leader_id: str) -> str:
        if not leader_id or leader_id in self.nodes:
            voters = ", ".join(member.node_id for member in self.newest.members if member.voter)
            return f"no leader can do it: a majority of the voters ({voters}) has to run and reach each other"
        return (
            f"{leader_id} leads at {self.leader_address}, which does not answer from here: "
            "name the address at which it does with --nodes"
        )

    async def _describe(self, addresses: Sequence[str]) -> None:
        answers = await asyncio.gather(*(self._describe_one(address) for address in addresses))
        for address, description in zip(addresses, answers, strict=True):
            if description is not None:
                self.nodes.setdefault(description.status.node_id, (address, description))

    async def _describe_one(self, address: str) -> Description | None:
        try:
            description: Description = await self._stub(address).DescribeCluster(
                raft_pb2.DescribeClusterRequest(), timeout=_LOOK_TIMEOUT_S
            )
        except Unimplemented:
            sys.exit(
                f"{address} is no node of a Raft cluster: it elects by Bully, or its log is in etcd (docs/engines.md)"
            )
        except ServiceError:
            return None
        return description

    def _stub(self, address: str) -> Any:
        if address not in self._stubs:
            channel = Channel(address)
            self._stack.push_async_callback(channel.close)
            self._stubs[address] = raft_pb2_grpc.RaftAdminServiceStub(channel)  # type: ignore[arg-type]
        return self._stubs[address]


async def _until_voter(cluster: _Cluster, arguments: argparse.Namespace) -> None:
    """Exits if it takes too long."""
    deadline = asyncio.get_running_loop().time() + arguments.wait
    # What was seen before the last change says nothing.
    await cluster.look()
    while not any(member.node_id == arguments.node and member.voter for member in cluster.newest.members):
        if asyncio.get_running_loop().time() > deadline:
            sys.exit(
                f"{arguments.node} is no voter after {arguments.wait:.0f} s: look at its log; it runs with "
                f"RAFT_JOIN={cluster.leader_address} and an empty data directory, or with the one that it had. "
                "It becomes a voter by itself once it has caught up"
            )
        await asyncio.sleep(_LOOK_AGAIN_S)
        await cluster.look()
    print(f"{arguments.node} is a voter.")


def _show(cluster: _Cluster) -> None:
    newest = cluster.newest
    table = Table(box=None, pad_edge=False)
    for name in ("node", "address", "role"):
        table.add_column(name)
    for name in ("term", "commit", "applied", "holds", "lag", "snapshot"):
        table.add_column(name, justify="right")
    for member in newest.members:
        known = cluster.nodes.get(member.node_id)
        status = known[1].status if known is not None else None
        lag = str(newest.status.last_log_index - member.match_index) if member.HasField("match_index") else "-"
        table.add_row(
            member.node_id,
            member.address,
            "[red]does not answer[/]" if status is None else _role(status, is_voter=member.voter),
            str(status.term) if status is not None else "-",
            str(status.commit_index) if status is not None else "-",
            str(status.last_applied) if status is not None else "-",
            str(member.match_index) if member.HasField("match_index") else "-",
            lag,
            str(known[1].snapshot_index) if known is not None else "-",
        )
    for node_id in cluster.nodes.keys() - {member.node_id for member in newest.members}:
        table.add_row(node_id, cluster.nodes[node_id][0], "[yellow]no member[/]", *("-" for _ in range(6)))
    # A narrow terminal, or none, folds lines rather than cells.
    console = Console(width=max(Console().width, _TABLE_WIDTH))
    console.print(table)
    leader = newest.status.leader_id
    console.print(f"{leader} leads in term {newest.status.term}." if leader else "[red]No leader is known.[/]")


def _role(status: raft_pb2.GetRaftStatusResponse, *, is_voter: bool) -> str:
    if not is_voter:
        return "learner"
    return "[bold]leader[/]" if status.role == "leader" else f"voter ({status.role})"
