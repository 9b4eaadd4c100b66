"""One whole system for the tests of each module, started with the command that people use."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bookstore.running import RunningSystem


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    directory: Path = tmp_path_factory.mktemp("bookstore")
    # Luck has no place in a test: cards are always authorised, bank transfers always declined.
    luck = {"PAYMENT_CARD_SUCCESS_RATE": "1", "PAYMENT_BANK_SUCCESS_RATE": "0"}
    with RunningSystem(directory, luck) as running:
        yield running


@pytest.fixture
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.orchestrator_url, timeout=60, trust_env=False) as client:
        yield client
