"""A seed is a schedule, and schedules hold every kind of fault, mostly on single nodes."""

import itertools
from collections import Counter

import pytest

from bookstore.shop_client import CLUSTERS
from bookstore.system import ORCHESTRATOR, PAYMENT, POSTGRES, TRIO
from tests.chaos.cuts import CUTS, EVERYBODY, ways
from tests.chaos.schedule import LEADER, PAUSE_S, Fault, Kind, schedule
from tests.support.crash_points import ORDER_POINTS

# What can be done to local processes.
LOCALLY = (Kind.KILL, Kind.CRASH, Kind.PAUSE, Kind.ABSENCE, Kind.POWER_CUT, Kind.RESTART, *CUTS)


def first(count: int, seed: int = 7, possible: tuple[Kind, ...] = tuple(Kind)) -> list[Fault]:
    return list(itertools.islice(schedule(seed, possible), count))


def test_seed_replays_its_schedule() -> None:
    assert first(200) == first(200)
    assert first(200) != first(200, seed=8)


@pytest.mark.parametrize(("cycles", "possible"), [(200, LOCALLY), (600, tuple(Kind))])
def test_as_many_cycles_strike_everybody_in_every_way(cycles: int, possible: tuple[Kind, ...]) -> None:
    faults = first(cycles, possible=possible)
    assert {fault.kind for fault in faults} == set(possible)
    alone = {(fault.kind, fault.targets[0].cluster) for fault in faults if len(fault.targets) == 1}
    kinds = set(possible) - {Kind.POWER_CUT, Kind.RESTART, Kind.SPLIT, Kind.CUT_CLIENTS}
    assert alone >= {(kind, cluster) for kind in kinds for cluster in CLUSTERS}
    crashes = {
        target.node for fault in first(9_000, possible=possible) if fault.kind is Kind.CRASH for target in fault.targets
    }
    assert crashes == {str(point) for point in ORDER_POINTS if (point.service, point.victim) != ("log", "service")}
    struck = {target.node for fault in faults for target in fault.targets}
    assert struck >= {LEADER, PAYMENT, ORCHESTRATOR, POSTGRES, *TRIO, *itertools.chain.from_iterable(CLUSTERS.values())}


def test_only_disks_that_orders_are_written_to_are_full() -> None:
    full = [fault for fault in first(2_000) if fault.kind is Kind.FULL_DISK]
    assert {target.cluster for fault in full for target in fault.targets} == {*CLUSTERS, PAYMENT}


def test_cuts_strike_only_whom_they_mean_something_to() -> None:
    cuts = [fault for fault in first(3_000) if fault.kind in CUTS]
    for fault in cuts:
        clusters = {target.cluster for target in fault.targets}
        if fault.kind is Kind.SPLIT:
            assert len(fault.targets) > 1
        if fault.kind in (Kind.CUT_PEER, Kind.CUT_PEERS):
            assert len(fault.targets) == 1
            assert clusters < CLUSTERS.keys()
        if fault.kind is Kind.CUT_CLIENTS:
            assert clusters == {ORCHESTRATOR}
    sides = [{target.cluster for target in fault.targets} for fault in cuts if fault.kind is Kind.SPLIT]
    # The minority's side, alone, with payment, and with the only door of the shop.
    assert all(CLUSTERS.keys() | others in sides for others in (set(), {PAYMENT}, {ORCHESTRATOR}))


@pytest.mark.parametrize(
    ("kind", "heard_by", "heard_from"),
    [
        (Kind.CUT_OFF, set(), set()),
        (Kind.SPLIT, {"db-node2"}, {"db-node2"}),
        (
            Kind.CUT_PEERS,
            EVERYBODY - {"order_queue_1", "order_queue_3"},
            EVERYBODY - {"order_queue_1", "order_queue_3"},
        ),
        (Kind.CUT_PEER, EVERYBODY - {"order_queue_3"}, EVERYBODY - {"order_queue_3"}),
        (Kind.MUTE, set(), EVERYBODY),
        (Kind.DEAFEN, EVERYBODY, set()),
    ],
)
def test_each_cut_closes_its_ways(kind: Kind, heard_by: set[str], heard_from: set[str]) -> None:
    node = "order_queue_2"
    closed = {
        (sender, receiver)
        for senders, receivers in ways(kind, [node, "db-node2"] if kind is Kind.SPLIT else [node])
        for sender in senders
        for receiver in receivers
    }
    others = EVERYBODY - {node}
    assert {other for other in others if (node, other) not in closed} == heard_by - {node}
    assert {other for other in others if (other, node) not in closed} == heard_from - {node}


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
