"""The page in a real browser, against an orchestrator whose answers are chosen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from frontend.server import PageServer
from tests.support.chromium import hook, launched_chromium
from tests.unit.frontend.fake_orchestrator import FakeOrchestrator
from tests.unit.frontend.visit import opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@pytest.fixture
def shop() -> Iterator[FakeOrchestrator]:
    fake = FakeOrchestrator()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def url(shop: FakeOrchestrator) -> Iterator[str]:
    server = PageServer("127.0.0.1", 0, shop.port)
    server.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    page = opened(browser, url)
    hook(page, "terms-accepted").check()
    defects: list[str] = []
    page.on("pageerror", lambda error: defects.append(str(error)))
    page.on("console", lambda message: defects.append(message.text) if "Content Security" in message.text else None)
    yield page
    page.context.close()
    assert defects == []
