"""Which faults come when: a function of the seed alone, so that a seed replays its schedule."""

import enum
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from bookstore.shop_client import CLUSTERS
from bookstore.system import ORCHESTRATOR, PAYMENT, POSTGRES, TRIO

PAUSE_S = (1.0, 8.0)
WHOLE_CLUSTER_PAUSE_S = (1.0, 4.0)
QUIET_S = (2.0, 5.0)
# How many faults strike while the system may still be recovering from the one before.
INTO_RECOVERY_SHARE = 0.25
LEADER = "leader"


class Kind(enum.StrEnum):
    # kill -9; it is started again at once.
    KILL = "kill"
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
    # Reaches nobody, and nobody reaches it, for `duration_s`.
    CUT_OFF = "cut off"
    # Loses some of what comes in, and what goes out waits in a narrow line, for `duration_s`.
    BAD_NETWORK = "bad network"
    # kill -9; it comes back at another address.
    MOVE = "another address"
    # Nothing more can be written to its disk for `duration_s`.
    FULL_DISK = "full disk"


# What strikes single nodes: how often, and how long it lasts.
_STRIKES = {
    Kind.KILL: (5, (0.0, 0.0)),
    Kind.PAUSE: (4, PAUSE_S),
    Kind.ABSENCE: (2, (3.0, 8.0)),
    Kind.STOP: (2, (0.0, 5.0)),
    Kind.CUT_OFF: (4, (2.0, 8.0)),
    Kind.BAD_NETWORK: (3, (3.0, 8.0)),
    Kind.MOVE: (2, (0.0, 0.0)),
    Kind.FULL_DISK: (2, (3.0, 8.0)),
}
# Who writes what an order needs.
_WITH_DISKS = {*CLUSTERS, PAYMENT}


@dataclass(frozen=True)
class Target:
    """A process by name, or the leader that a cluster has when the fault strikes."""

    cluster: str
    node: str


@dataclass(frozen=True)
class Fault:
    """What is done to whom at once, and how long the system is left alone afterwards.

    `into_recovery`: it does not wait until everything that was struck before is healthy again.
    """

    kind: Kind
    targets: tuple[Target, ...]
    duration_s: float
    quiet_s: float
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
    kinds = {
        _one_node: 60,
        _node_of_each_cluster: 12,
        _single_service: 15,
        _whole_cluster: 7,
        _everything: 6,
    }
    while True:
        make = random_source.choices(list(kinds), list(kinds.values()))[0]
        yield replace(make(random_source, possible), into_recovery=random_source.random() < INTO_RECOVERY_SHARE)


def _one_node(random_source: random.Random, possible: Collection[Kind]) -> Fault:
    cluster = random_source.choice(list(CLUSTERS))
    return _on(random_source, possible, (_node(random_source, cluster),))


def _node_of_each_cluster(random_source: random.Random, possible: Collection[Kind]) -> Fault:
    """A majority of each is left."""
    targets = tuple(_node(random_source, cluster) for cluster in CLUSTERS)
    if random_source.random() < 0.3:
        targets += (Target(PAYMENT, PAYMENT),)
    return _on(random_source, possible, targets)


def _single_service(random_source: random.Random, possible: Collection[Kind]) -> Fault:
    """Payment most of all: it takes part in every transaction."""
    name = random_source.choices((PAYMENT, ORCHESTRATOR, POSTGRES, *TRIO), (6, 3, 2, 1, 1, 1))[0]
    return _on(random_source, possible, (Target(name, name),))


def _whole_cluster(random_source: random.Random, _possible: Collection[Kind]) -> Fault:
    cluster = random_source.choice(list(CLUSTERS))
    targets = tuple(Target(cluster, node) for node in CLUSTERS[cluster])
    quiet_s = random_source.uniform(*QUIET_S)
    if random_source.random() < 0.5:
        return Fault(Kind.KILL, targets, 0.0, quiet_s)
    return Fault(Kind.PAUSE, targets, random_source.uniform(*WHOLE_CLUSTER_PAUSE_S), quiet_s)


def _everything(random_source: random.Random, _possible: Collection[Kind]) -> Fault:
    kind = random_source.choice((Kind.POWER_CUT, Kind.RESTART))
    return Fault(kind, (), 0.0, random_source.uniform(*QUIET_S))


def _node(random_source: random.Random, cluster: str) -> Target:
    """The leader as often as not: it is the one that matters."""
    node = LEADER if random_source.random() < 0.5 else random_source.choice(CLUSTERS[cluster])
    return Target(cluster, node)


def _on(random_source: random.Random, possible: Collection[Kind], targets: tuple[Target, ...]) -> Fault:
    with_disks = all(target.cluster in _WITH_DISKS for target in targets)
    kinds = [kind for kind in _STRIKES if kind in possible and (with_disks or kind is not Kind.FULL_DISK)]
    kind = random_source.choices(kinds, [_STRIKES[kind][0] for kind in kinds])[0]
    return Fault(kind, targets, random_source.uniform(*_STRIKES[kind][1]), random_source.uniform(*QUIET_S))
