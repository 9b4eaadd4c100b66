"""Whether orders can be taken and carried out, component by component."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec


class NodeStatus(msgspec.Struct, frozen=True):
    """What a node of a cluster says of its consensus."""

    node_id: str
    role: str
    term: int
    leader_id: str
    # Leads, and has committed an entry of its own term.
    ready: bool


class Component(msgspec.Struct, frozen=True):
    ready: bool
    detail: str


class Probed(msgspec.Struct, frozen=True):
    """What the parts of the system said when they were asked."""

    # By cluster, of the nodes that answered.
    clusters: Mapping[str, Sequence[NodeStatus]]
    # By service: "" for one that serves, else why not.
    services: Mapping[str, str]


class Probe(Protocol):
    def __call__(self) -> Probed:
        """Asks all at once, for a bounded time; never raises."""


def cluster_component(statuses: Sequence[NodeStatus], nodes: int) -> Component:
    """Ready when most of the cluster's `nodes` follow one leader of one term, and that leader says that it is ready."""
    leaders = [status for status in statuses if status.role == "leader" and status.ready]
    if not leaders:
        return Component(ready=False, detail=f"no leader is ready; {len(statuses)} of {nodes} nodes answer")
    leader = max(leaders, key=lambda status: status.term)
    following = sum((status.term, status.leader_id) == (leader.term, leader.node_id) for status in statuses)
    detail = f"{leader.node_id} leads {following} of {nodes} nodes in term {leader.term}"
    return Component(ready=following > nodes // 2, detail=detail)


class Readiness:
    """`nodes`: how many nodes each cluster has; `shelf`: whether there is something to sell."""

    def __init__(self, probe: Probe, nodes: Mapping[str, int], shelf: Callable[[], Component]) -> None:
        self._probe = probe
        self._nodes = nodes
        self._shelf = shelf

    def components(self) -> dict[str, Component]:
        """Every component that an order needs, as it is now."""
        probed = self._probe()
        components = {
            name: cluster_component(probed.clusters.get(name, ()), nodes) for name, nodes in self._nodes.items()
        }
        for name, trouble in probed.services.items():
            components[name] = Component(ready=not trouble, detail=trouble or "serving")
        components["shelf"] = self._shelf()
        return components
