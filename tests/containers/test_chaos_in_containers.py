"""A slice of chaos on the containers that already run, with a seed of its own each time."""

from pathlib import Path

import pytest

from tests.chaos.run import Plan, new_seed, run
from tests.containers.compose import Compose
from tests.containers.machines import Containers

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

SECONDS = 90


def test_faults_of_containers_break_no_promise(compose: Compose, tmp_path: Path) -> None:
    plan = Plan(new_seed(), SECONDS, where="--containers")
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line)

    verdict = run(plan, Containers(compose), tmp_path, say)
    report = "\n".join(lines)
    assert verdict.passed, f"replay with: {plan.command}\n{report}"
    print(verdict.summary())
