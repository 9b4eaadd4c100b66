"""Which ways through the network each kind of cut closes."""

from collections.abc import Iterator, Set as AbstractSet

from bookstore.shop_client import CLUSTERS
from bookstore.system import PORTS
from tests.chaos.schedule import Kind

CLIENTS = "clients"
EVERYBODY = frozenset({*PORTS, CLIENTS})
CUTS = (Kind.CUT_OFF, Kind.SPLIT, Kind.CUT_PEERS, Kind.CUT_PEER, Kind.CUT_CLIENTS, Kind.MUTE, Kind.DEAFEN)

# Whose words are lost on whom.
Way = tuple[AbstractSet[str], AbstractSet[str]]


def ways(kind: Kind, nodes: list[str]) -> Iterator[Way]:
    for node in nodes:
        others = EVERYBODY - {node}
        match kind:
            case Kind.CUT_OFF:
                yield from _both(node, others)
            case Kind.SPLIT:
                yield from _both(node, EVERYBODY - set(nodes))
            case Kind.CUT_PEERS:
                yield from _both(node, set(_peers(node)))
            case Kind.CUT_PEER:
                yield from _both(node, {_peers(node)[0]})
            case Kind.CUT_CLIENTS:
                yield from _both(node, {CLIENTS})
            case Kind.MUTE:
                yield {node}, others
            case Kind.DEAFEN:
                yield others, {node}


def _both(node: str, others: AbstractSet[str]) -> Iterator[Way]:
    yield {node}, others
    yield others, {node}


def _peers(node: str) -> list[str]:
    """The others of its cluster, the one that comes after it first."""
    nodes = next(nodes for nodes in CLUSTERS.values() if node in nodes)
    place = nodes.index(node)
    return [*nodes[place + 1 :], *nodes[:place]]
