"""A seed is a schedule, and schedules hold every kind of fault, mostly on single nodes."""

import itertools
from collections import Counter

from bookstore.shop_client import CLUSTERS
from bookstore.system import PAYMENT
from tests.chaos.schedule import LEADER, PAUSE_S, Fault, Kind, schedule


def first(count: int, seed: int = 7) -> list[Fault]:
    return list(itertools.islice(schedule(seed), count))


def test_seed_replays_its_schedule() -> None:
    assert first(200) == first(200)
    assert first(200) != first(200, seed=8)


def test_200_cycles_strike_everybody_in_every_way() -> None:
    faults = first(200)
    assert {fault.kind for fault in faults} == set(Kind)
    alone = {(fault.kind, fault.targets[0].cluster) for fault in faults if fault.one_node}
    assert alone == {(kind, cluster) for kind in (Kind.KILL, Kind.PAUSE, Kind.ABSENCE) for cluster in CLUSTERS}
    struck = {target.node for fault in faults for target in fault.targets}
    assert struck >= {LEADER, PAYMENT, *itertools.chain.from_iterable(CLUSTERS.values())}


def test_mostly_a_majority_of_each_cluster_is_left() -> None:
    faults = first(1_000)
    left = sum(
        bool(fault.targets) and max(Counter(target.cluster for target in fault.targets).values()) == 1
        for fault in faults
    )
    assert 0.8 < left / len(faults) < 1


def test_single_node_is_the_only_one_missing_unless_the_system_is_still_recovering() -> None:
    faults = first(1_000)
    assert 0.15 < sum(fault.into_recovery for fault in faults) / len(faults) < 0.35
    assert all(len(fault.targets) == 1 and not fault.into_recovery for fault in faults if fault.one_node)


def test_pauses_last_as_long_as_they_should() -> None:
    pauses = [fault.duration_s for fault in first(500) if fault.kind is Kind.PAUSE and len(fault.targets) == 1]
    assert all(PAUSE_S[0] <= duration_s <= PAUSE_S[1] for duration_s in pauses)
    assert max(pauses) - min(pauses) > 6
