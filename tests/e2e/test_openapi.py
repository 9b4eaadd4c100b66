"""schemathesis sends what the OpenAPI file allows, and what it forbids, to the running system."""

import subprocess
import sys
from pathlib import Path

import pytest

from bookstore.running import RunningSystem

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
DESCRIPTION = Path(__file__).parent.parent.parent / "utils/api/bookstore.yaml"


def test_every_answer_is_one_that_the_description_names(system: RunningSystem) -> None:
    outcome = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"),
            "run", str(DESCRIPTION),
            "--url", system.orchestrator_url,
            "--checks", ",".join(CHECKS),
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", "25",
            "--seed", "1",
            "--generation-database", "none",
            "--no-color",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stdout[-6000:]
