"""Many seeds on every core: progress while they run, every failure with its replay, and one JSON object at the end."""

import collections
import dataclasses
import gc
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from tests.simulation.simulation import Report, Simulation, SimulationFailed

_SEEDS_PER_TASK = 5
# What the seeds leave behind goes with the process that played them: that costs less than collecting it.
_TASKS_PER_PROCESS = 8
_PROGRESS_EVERY_S = 10.0
# Seeds in which too little happens are played and not counted; if there are more than so many for each that counts,
# something is wrong.
_SEEDS_PLAYED_PER_COUNTED_MAX = 2


@dataclasses.dataclass
class Findings:
    """Of a campaign."""

    counted: int = 0
    played: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)
    totals: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)

    def add(self, outcome: Report | str) -> None:
        self.played += 1
        if isinstance(outcome, str):
            self.failures.append(outcome)
            print(outcome, file=sys.stderr, flush=True)
            return
        self.counted += outcome.counts
        self.simulated_s += outcome.simulated_s
        self.totals.update(commands=outcome.commands_committed, elections=outcome.elections)
        self.totals.update(outcome.happened)
        self.totals.update({f"told: {name}": count for name, count in outcome.outcomes.items()})
        self.totals.update({f"power cut: {name}": count for name, count in outcome.crash_points.items()})

    def __str__(self) -> str:
        return f"{self.counted} seeds, {self.simulated_s / 3600:.2f} simulated hours, {len(self.failures)} violations"


def run(first_seed: int, seeds: int) -> Findings:
    """Plays seeds from `first_seed` on until `seeds` of them count."""
    findings = Findings()
    began = shown = time.monotonic()
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.Pool(cores, initializer=gc.disable, maxtasksperchild=_TASKS_PER_PROCESS) as pool:
        tasks = itertools.islice(itertools.count(first_seed, _SEEDS_PER_TASK), _tasks_max(seeds))
        for outcomes, cpu_s in pool.imap_unordered(_play, tasks):
            findings.cpu_s += cpu_s
            for outcome in outcomes:
                findings.add(outcome)
            if time.monotonic() - shown >= _PROGRESS_EVERY_S:
                shown = time.monotonic()
                print(f"{shown - began:6.0f} s: {findings}", flush=True)
            if findings.counted >= seeds:
                break
        pool.terminate()
    return findings


def _tasks_max(seeds: int) -> int:
    return -(-seeds * _SEEDS_PLAYED_PER_COUNTED_MAX // _SEEDS_PER_TASK)


def _play(first_seed: int) -> tuple[list[Report | str], float]:
    began = time.process_time()
    return list(_outcomes(first_seed)), time.process_time() - began


def _outcomes(first_seed: int) -> Iterator[Report | str]:
    for seed in range(first_seed, first_seed + _SEEDS_PER_TASK):
        try:
            yield Simulation(seed).run()
        except SimulationFailed as failure:
            yield str(failure)
