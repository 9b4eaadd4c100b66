"""Every bug that is planted on an order's way is killed."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_planted_bug_is_killed_by_an_assertion() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.orders"], capture_output=True, text=True, timeout=590, check=False
    )
    assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-1_000:]
