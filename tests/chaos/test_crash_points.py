"""Every labelled point where a single process can die between an order's acceptance and its end, on real processes.

tests/orders/test_crashes.py has the same points, and all pairs of them, on the machines alone in virtual time.
"""

from pathlib import Path

import pytest

from bookstore.shop_client import CLUSTERS
from bookstore.system import PAYMENT
from tests.chaos.crash_points import points_of
from tests.chaos.processes import Processes
from tests.chaos.run import LUCK, Plan, new_seed, play
from tests.chaos.schedule import Fault, Kind, Target
from tests.support.crash_points import ORDER_POINTS

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

CALM_ORDERS = 10


def test_whoever_dies_where_breaks_no_promise(tmp_path: Path) -> None:
    victims = {str(point): cluster for cluster in (*CLUSTERS, PAYMENT) for point in points_of(cluster)}
    # In the order in which an order meets them, so that everybody has come back before it is their turn again.
    faults = [
        Fault(Kind.CRASH, (Target(victims[str(point)], str(point)),), 0.0, CALM_ORDERS)
        for point in ORDER_POINTS
        if str(point) in victims
    ]
    assert len(faults) == len(ORDER_POINTS) - 2
    plan = Plan(new_seed(), 0.0, cycles=len(faults))
    lines: list[str] = []
    with Processes(tmp_path, LUCK) as machines:
        verdict = play(plan, iter(faults), machines, tmp_path, lines.append)
    print("\n".join(lines))
    assert verdict.passed, "\n".join(lines)
