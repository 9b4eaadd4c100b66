"""What a customer does in the shop, for tests of the page."""

import json
import re
from typing import Any, Protocol

from playwright.sync_api import Browser, Page, Request, expect

from tests.support.chromium import TIMEOUT_MS, hook, press


class Shop(Protocol):
    """A system that runs, as local processes or in containers."""

    @property
    def page_url(self) -> str: ...


def open_shop(browser: Browser, system: Shop, basket: dict[str, int] | None = None, **options: Any) -> Page:
    """A visit of its own, with `basket` (copies by title) left from the last one; the books are on the shelf."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    if basket is not None:
        lines = json.dumps([{"title": title, "quantity": quantity} for title, quantity in basket.items()])
        page.add_init_script(f"localStorage.setItem('bookstore.basket', {json.dumps(lines)})")
    page.goto(system.page_url)
    expect(page.locator(".book").first).to_be_visible()
    return page


def defects_of(page: Page) -> list[str]:
    """Grows with every error of the page's scripts and with whatever its security policy stops."""
    defects: list[str] = []
    page.on("pageerror", lambda error: defects.append(str(error)))
    page.on("console", lambda message: defects.append(message.text) if "Content Security" in message.text else None)
    return defects


def order(page: Page) -> None:
    """Accepts the terms and places the order."""
    hook(page, "terms-accepted").check()
    press(page)


def expect_approved(page: Page) -> str:
    """The id of the order that the page tells to be approved."""
    success = hook(page, "alert-success")
    expect(success).to_contain_text("Order completed successfully!", timeout=2 * TIMEOUT_MS)
    expect(hook(page, "alert-error")).to_have_count(0)
    return success.locator("code").first.inner_text()


def expect_rejected(page: Page, reason: str | re.Pattern[str]) -> None:
    """The page tells that the order is rejected, and why."""
    alert = hook(page, "alert-error")
    expect(alert).to_contain_text("Order Rejected", timeout=2 * TIMEOUT_MS)
    expect(alert).to_contain_text(reason)
    expect(alert).to_contain_text("You have not been charged.")
    expect(hook(page, "alert-success")).to_have_count(0)
    expect(hook(page, "suggested-books")).to_be_hidden()


def copies_on_shelf(page: Page, title: str) -> int:
    """As the page shows it: of a book with many."""
    book = page.locator(".book", has=page.get_by_role("heading", name=title, exact=True))
    stock = book.locator(".stock")
    expect(stock).to_have_text(re.compile(r"\d+ (in stock|left)"))
    return int(re.sub(r"\D", "", stock.inner_text()))


class Posted:
    """Every checkout that a page sends: its key and its body."""

    def __init__(self, page: Page) -> None:
        self.orders: list[tuple[str, str]] = []
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.method == "POST":
            self.orders.append((request.headers["idempotency-key"], request.post_data or ""))
