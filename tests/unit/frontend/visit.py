"""A visit to the page whose orchestrator is fake."""

from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import TIMEOUT_MS


def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page with its books on the shelf."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    expect(page.locator(".book").first).to_be_visible()
    return page
