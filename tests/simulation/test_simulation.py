"""The slice of the simulation that every run of the suite plays."""

from collections.abc import Callable

import pytest

from tests.simulation.planted_bugs import PLANTED_BUGS, PlantedBug
from tests.simulation.planted_snapshot_bugs import PLANTED_SNAPSHOT_BUGS, RARE_SNAPSHOT_BUGS
from tests.simulation.simulation import Report, Simulation, SimulationFailed

SEEDS_THAT_COUNT = 30
SEEDS_PLAYED_MAX = 40
# Most bugs show in the first seed, and all in the first dozen.
SEEDS_PER_BUG_MAX = 60


def play_seeds(seeds: int) -> None:
    for seed in range(seeds):
        Simulation(seed).run()


def test_the_promises_hold_whatever_fails() -> None:
    counted: list[Report] = []
    for seed in range(SEEDS_PLAYED_MAX):
        report = Simulation(seed).run()
        if report.counts:
            counted.append(report)
        if len(counted) == SEEDS_THAT_COUNT:
            break
    assert len(counted) == SEEDS_THAT_COUNT, f"only {len(counted)} of {SEEDS_PLAYED_MAX} seeds prove anything"
    assert {report.nodes for report in counted} == {3, 5}
    assert sum(report.snapshots_installed for report in counted) > SEEDS_THAT_COUNT
    assert sum(report.transfers for report in counted) > SEEDS_THAT_COUNT


def test_the_same_seed_leaves_the_same_trace() -> None:
    assert Simulation(7).run() == Simulation(7).run()
    assert Simulation(7).run().trace != Simulation(8).run().trace


@pytest.mark.parametrize("plant", PLANTED_BUGS + PLANTED_SNAPSHOT_BUGS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: PlantedBug, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(SimulationFailed, match=r"replay it with: python -m tests.simulation --seed \d+"):
        play_seeds(SEEDS_PER_BUG_MAX)


@pytest.mark.parametrize(
    ("plant", "case"), RARE_SNAPSHOT_BUGS, ids=lambda value: value.__name__ if value in dict(RARE_SNAPSHOT_BUGS) else ""
)
def test_a_rare_planted_bug_is_found_by_its_case(
    plant: PlantedBug, case: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    case()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        case()
