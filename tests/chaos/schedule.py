"""Which faults come when: a function of the seed alone, so that a seed replays its schedule."""

import enum
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from bookstore.shop_client import CLUSTERS
from bookstore.system import ORCHESTRATOR, PAYMENT, POSTGRES, TRIO
from tests.chaos.crash_points import points_of

PAUSE_S = (1.0, 8.0)
CUT_S = (1.0, 8.0)
WHOLE_CLUSTER_S_MAX = 4.0
# How many orders begun after a fault have to end before the next one.
CALM_ORDERS = (10, 100)
# How many faults strike while the system may still be recovering from the one before.
INTO_RECOVERY_SHARE = 0.25
LEADER = "leader"

_T = TypeVar("_T")


class Kind(enum.StrEnum):
    # kill -9; it is started again at once.
    KILL = "kill"
    # kill -9 at a labelled place in the life of an order; it is started again at once.
    CRASH = "crash"
    # kill -9, and again whenever it comes back, for `duration_s`.
    ABSENCE = "keep away"
    # SIGSTOP for `duration_s`, then SIGCONT.
    PAUSE = "pause"
    # kill -9 of everything at once, then a start on other addresses.
    POWER_CUT = "power cut"
    # An orderly stop of everything, then a start on other addresses.
    RESTART = "restart of everything"
    # An orderly stop; it is started again after `duration_s`.
    STOP = "stop"
    # Reaches nobody, and nobody reaches it, for `duration_s`: here and below, whatever is sent is lost in silence.
    CUT_OFF = "cut off"
    # Several are a side of their own: they reach each other, and nobody else does.
    SPLIT = "split"
    # A node and the others of its cluster do not reach each other; everybody else reaches both.
    CUT_PEERS = "cut off from peers"
    # The same with one other; the third one reaches both.
    CUT_PEER = "cut off from one peer"
    # The orchestrator and its clients do not reach each other.
    CUT_CLIENTS = "cut off from clients"
    # Reaches nobody, and everybody reaches it.
    MUTE = "mute"
    # Reaches everybody, and nobody reaches it.
    DEAFEN = "deafen"
    # Loses some of what comes in, and what goes out waits in a narrow line, for `duration_s`.
    BAD_NETWORK = "bad network"
    # kill -9; it comes back at another address.
    MOVE = "another address"
    # Nothing more can be written to its disk for `duration_s`.
    FULL_DISK = "full disk"


# What strikes some but not all: how often, and how long it lasts.
_STRIKES = {
    Kind.KILL: (3, (0.0, 0.0)),
    Kind.CRASH: (2, (0.0, 0.0)),
    Kind.PAUSE: (2, PAUSE_S),
    Kind.ABSENCE: (1, (3.0, 8.0)),
    Kind.STOP: (1, (0.0, 5.0)),
    Kind.CUT_OFF: (2, CUT_S),
    Kind.SPLIT: (2, CUT_S),
    Kind.CUT_PEERS: (1, CUT_S),
    Kind.CUT_PEER: (1, CUT_S),
    Kind.CUT_CLIENTS: (4, CUT_S),
    Kind.MUTE: (1, CUT_S),
    Kind.DEAFEN: (1, CUT_S),
    Kind.BAD_NETWORK: (2, (3.0, 8.0)),
    Kind.MOVE: (1, (0.0, 0.0)),
    Kind.FULL_DISK: (1, (3.0, 8.0)),
}
# Who writes what an order needs.
_WITH_DISKS = {*CLUSTERS, PAYMENT}


@dataclass(frozen=True)
class Target:
    """A process by name, or the leader that a cluster has when the fault strikes, or a place where one will crash."""

    cluster: str
    node: str


@dataclass(frozen=True)
class Fault:
    """What is done to whom at once, and after how many orders the system is calm enough for the next.

    `into_recovery`: it does not wait until everything that was struck before is healthy again.
    """

    kind: Kind
    targets: tuple[Target, ...]
    duration_s: float
    calm_orders: int
    into_recovery: bool = False

    @property
    def one_node(self) -> bool:
        """Whether it takes one node of one of the three clusters, and nothing else is missing."""
        return not self.into_recovery and len(self.targets) == 1 and self.targets[0].cluster in CLUSTERS


def schedule(seed: int, possible: Collection[Kind]) -> Iterator[Fault]:
    """Without end, of the kinds that are `possible`, among which are KILL, PAUSE, POWER_CUT and RESTART.

    Mostly one node; now and then a node of each cluster, a whole cluster, or everything.
    """
    random_source = random.Random(seed)
    one_node = _one_node(random_source, possible)
    makers: dict[Callable[[], Fault], int] = {
        lambda: next(one_node): 60,
        lambda: _node_of_each_cluster(random_source, possible): 12,
        lambda: _single_service(random_source, possible): 15,
        lambda: _whole_cluster(random_source, possible): 7,
        lambda: _everything(random_source): 6,
    }
    while True:
        fault = _draw(random_source, makers)()
        yield replace(fault, into_recovery=random_source.random() < INTO_RECOVERY_SHARE)


def _one_node(random_source: random.Random, possible: Collection[Kind]) -> Iterator[Fault]:
    """Dealt from a pack, so that soon every cluster has been struck in every way."""
    while True:
        pack = [
            (kind, cluster)
            for cluster in CLUSTERS
            for kind, weight in _suitable(possible, [cluster]).items()
            for _ in range(weight)
        ]
        random_source.shuffle(pack)
        for kind, cluster in pack:
            target = _crash(random_source, cluster) if kind is Kind.CRASH else _node(random_source, cluster)
            yield _fault(random_source, kind, target)


def _node_of_each_cluster(random_source: random.Random, possible: Collection[Kind]) -> Fault:
    """A majority of each is left. As a side of their own they are the minority, with or without clients."""
    targets = [_node(random_source, cluster) for cluster in CLUSTERS]
    with_them = _draw(random_source, {None: 5, PAYMENT: 3, ORCHESTRATOR: 2})
    if with_them is not None:
        targets.append(Target(with_them, with_them))
    kind = _draw(random_source, _suitable(possible, [target.cluster for target in targets]))
    return _fault(random_source, kind, *targets)


def _single_service(random_source: random.Random, possible: Collection[Kind]) -> Fault:
    """Payment most of all: it takes part in every transaction."""
    name = _draw(random_source, {PAYMENT: 6, ORCHESTRATOR: 4, POSTGRES: 2, **dict.fromkeys(TRIO, 1)})
    kind = _draw(random_source, _suitable(possible, [name]))
    return _fault(random_source, kind, _crash(random_source, name) if kind is Kind.CRASH else Target(name, name))


def _whole_cluster(random_source: random.Random, possible: Collection[Kind]) -> Fault:
    cluster = random_source.choice(list(CLUSTERS))
    kinds = [kind for kind in (Kind.KILL, Kind.PAUSE, Kind.SPLIT) if kind in possible]
    targets = (Target(cluster, node) for node in CLUSTERS[cluster])
    fault = _fault(random_source, random_source.choice(kinds), *targets)
    return replace(fault, duration_s=min(fault.duration_s, WHOLE_CLUSTER_S_MAX))


def _everything(random_source: random.Random) -> Fault:
    return _fault(random_source, random_source.choice((Kind.POWER_CUT, Kind.RESTART)))


def _node(random_source: random.Random, cluster: str) -> Target:
    """The leader as often as not: it is the one that matters."""
    node = LEADER if random_source.random() < 0.5 else random_source.choice(CLUSTERS[cluster])
    return Target(cluster, node)


def _crash(random_source: random.Random, cluster: str) -> Target:
    return Target(cluster, str(random_source.choice(points_of(cluster))))


def _suitable(possible: Collection[Kind], clusters: list[str]) -> dict[Kind, int]:
    """What can strike these at once, with its weight."""
    suits = {
        Kind.CRASH: len(clusters) == 1 and bool(points_of(clusters[0])),
        Kind.FULL_DISK: _WITH_DISKS.issuperset(clusters),
        Kind.SPLIT: len(clusters) > 1,
        Kind.CUT_PEERS: clusters[0] in CLUSTERS and len(clusters) == 1,
        Kind.CUT_PEER: clusters[0] in CLUSTERS and len(clusters) == 1,
        Kind.CUT_CLIENTS: clusters == [ORCHESTRATOR],
    }
    return {kind: weight for kind, (weight, _) in _STRIKES.items() if kind in possible and suits.get(kind, True)}


def _fault(random_source: random.Random, kind: Kind, *targets: Target) -> Fault:
    _, duration_s = _STRIKES.get(kind, (0, (0.0, 0.0)))
    return Fault(kind, targets, random_source.uniform(*duration_s), random_source.randint(*CALM_ORDERS))


def _draw(random_source: random.Random, weights: Mapping[_T, int]) -> _T:
    return random_source.choices(list(weights), list(weights.values()))[0]
