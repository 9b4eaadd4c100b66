"""One whole system for the tests of each module, and the browser that visits its page."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import Browser, Page

from bookstore.running import RunningSystem
from tests.page.visit import defects_of, open_shop
from tests.support.chromium import SCREENSHOTS, launched_chromium

_T = TypeVar("_T")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    directory: Path = tmp_path_factory.mktemp("bookstore")
    # Luck has no place in a test: cards are always authorised, bank transfers always declined.
    luck = {"PAYMENT_CARD_SUCCESS_RATE": "1", "PAYMENT_BANK_SUCCESS_RATE": "0"}
    with RunningSystem(directory, luck) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, system: RunningSystem) -> Iterator[Page]:
    """The shop as a new customer finds it; nothing may go wrong in its scripts."""
    page = open_shop(browser, system)
    defects = defects_of(page)
    yield page
    page.context.close()
    assert defects == []


@pytest.fixture
def apart() -> Iterator[Callable[[Callable[[], _T]], _T]]:
    """Runs a function in another thread: in the browser's, an event loop runs already."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda function: thread.submit(function).result()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
