"""A minute of chaos with a seed of its own each time; a failure names the command that plays the same schedule."""

import itertools
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.chaos.cuts import CUTS
from tests.chaos.processes import Processes
from tests.chaos.run import LUCK, Plan, new_seed, run
from tests.chaos.schedule import Kind, schedule

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

SECONDS = 60


def seed_that_cuts_off(possible: Collection[Kind]) -> int:
    """Within the faults that are always carried out."""
    while True:
        plan = Plan(new_seed(), SECONDS)
        if any(fault.kind in CUTS for fault in itertools.islice(schedule(plan.seed, possible), plan.cycles_min)):
            return plan.seed


def test_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    machines = Processes(tmp_path, LUCK)
    plan = Plan(seed_that_cuts_off(machines.harms), SECONDS)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line)

    with machines:
        verdict = run(plan, machines, tmp_path, say)
    report = "\n".join(lines)
    assert verdict.passed, f"replay with: {plan.command}\n{report}"
    print(verdict.summary())
