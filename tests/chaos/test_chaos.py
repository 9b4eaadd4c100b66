"""A minute of chaos with a seed of its own each time; a failure names the command that plays the same schedule."""

from pathlib import Path

import pytest

from tests.chaos.processes import Processes
from tests.chaos.run import LUCK, Plan, new_seed, run

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

SECONDS = 60


def test_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    plan = Plan(new_seed(), SECONDS)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line)

    with Processes(tmp_path, LUCK) as machines:
        verdict = run(plan, machines, tmp_path, say)
    report = "\n".join(lines)
    assert verdict.passed, f"replay with: {plan.command}\n{report}"
    print(verdict.summary())
