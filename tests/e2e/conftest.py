"""One whole system for the tests of each module, started with the command that people use."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bookstore.running import RunningSystem
from tests.e2e.shop_http import shop_http


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    directory: Path = tmp_path_factory.mktemp("bookstore")
    # Luck has no place in a test: cards are always authorised, bank transfers always declined.
    luck = {"PAYMENT_CARD_SUCCESS_RATE": "1", "PAYMENT_BANK_SUCCESS_RATE": "0"}
    with RunningSystem(directory, luck) as running:
        yield running


@pytest.fixture
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    with shop_http(system) as client:
        yield client
