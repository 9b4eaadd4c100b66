"""The slice of the simulation that every run of the suite plays."""

import dataclasses
import subprocess
import sys

import pytest

from tests.simulation import planting
from tests.simulation.faults import CRASH_POINTS
from tests.simulation.planted import PLANTED_BUGS
from tests.simulation.simulation import Report, Simulation, SimulationFailed

# From here on everything happens that is asked for below.
FIRST_SEED = 60
SEEDS_THAT_COUNT = 25
SEEDS_PLAYED_MAX = 35


def test_the_promises_hold_whatever_fails() -> None:
    counted: list[Report] = []
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS_PLAYED_MAX):
        report = Simulation(seed).run()
        if report.counts:
            counted.append(report)
        if len(counted) == SEEDS_THAT_COUNT:
            break
    assert len(counted) == SEEDS_THAT_COUNT, f"only {len(counted)} of {SEEDS_PLAYED_MAX} seeds prove anything"
    assert {report.nodes for report in counted} == {3, 5}
    for what in (
        "snapshots installed",
        "transfers",
        "damages refused",
        "failed syncs",
        "lost disks",
        "membership: Remove",
    ):
        assert any(report.happened.get(what) for report in counted), f"there were no {what}"
    for outcome in ("result", "read", "dropped", "unknown", "refused"):
        assert any(report.outcomes.get(outcome) for report in counted), f"nobody was told: {outcome}"
    missed = [point for point in CRASH_POINTS if not any(report.crash_points.get(point) for report in counted)]
    assert len(missed) < len(CRASH_POINTS) // 3, f"the power never failed at {missed}"


def test_the_same_seed_leaves_the_same_trace() -> None:
    first = Simulation(7).run()
    assert Simulation(7).run() == first
    assert Simulation(8).run().trace != first.trace
    # Also in another process, where Python's hashes of strings are others.
    code = "from tests.simulation.simulation import Simulation; print(Simulation(7).run().trace)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(other.stdout.split()[-1]) == first.trace


def test_a_failure_names_its_seed_and_the_command_that_plays_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.raft.core.log.RaftLog.is_candidate_up_to_date", lambda *_: True)
    with pytest.raises(SimulationFailed, match=r"replay it with: python -m tests.simulation --seed \d+"):
        _play(SEEDS_PLAYED_MAX)


def test_every_planted_bug_names_a_test_that_is_there() -> None:
    assert planting.missing_killers(PLANTED_BUGS) == []
    renamed = dataclasses.replace(PLANTED_BUGS[0], killer=f"{PLANTED_BUGS[0].killer}_as_it_was_called_once")
    assert planting.missing_killers([renamed]) == [renamed.killer]
    moved = dataclasses.replace(renamed, killer="tests/unit/raft/core/test_nowhere.py::test_nothing")
    with pytest.raises(AssertionError, match=r"these tests are missing, renamed perhaps: .*test_nothing"):
        planting.plant_all([moved])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_planted_bug_is_killed_by_an_assertion() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--planted"],
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-1_000:]


def _play(seeds: int) -> None:
    for seed in range(seeds):
        Simulation(seed).run()
