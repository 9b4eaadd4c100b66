"""The page in Chromium, served by nginx from its container, with the orchestrator in another."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from frontend.server import security_headers
from tests.containers.compose import Compose
from tests.page.visit import defects_of, expect_approved, expect_rejected, open_shop, order
from tests.support.chromium import SCREENSHOTS, hook, launched_chromium, needs_chromium

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@needs_chromium
def test_an_order_is_approved_through_the_page(compose: Compose, browser: Browser) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = open_shop(browser, compose, {"Book A": 1, "Book B": 2})
    defects = defects_of(page)
    page.screenshot(path=SCREENSHOTS / "containers-shop.png")
    order(page)
    expect_approved(page)
    expect(hook(page, "suggested-books").locator("li").first).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "containers-approved.png", full_page=True)
    assert defects == []
    page.context.close()


@needs_chromium
def test_a_rejection_tells_its_reason_on_the_page(compose: Compose, browser: Browser) -> None:
    page = open_shop(browser, compose, {"Book A": 1})
    page.get_by_label("Card number").fill("4111111111111112")
    order(page)
    expect_rejected(page, "This is not a valid card number.")
    page.screenshot(path=SCREENSHOTS / "containers-rejected.png", full_page=True)
    page.context.close()


@pytest.mark.parametrize("path", ["/", "/js/main.js", "/style.css", "/nowhere"])
def test_nginx_sends_the_same_security_headers_as_the_local_server(compose: Compose, path: str) -> None:
    answer = httpx.get(compose.page_url + path, timeout=10, trust_env=False)
    assert answer.status_code == (404 if path == "/nowhere" else 200)
    expected = security_headers(8081)
    assert {name: answer.headers.get(name) for name in expected} == expected
