"""A customer in the real shop: orders that are approved, and those that are rejected after they were accepted."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bookstore.running import RunningSystem
from bookstore.shop_client import captures, stock
from tests.page.visit import Posted, copies_on_shelf, expect_approved, expect_rejected, open_shop, order
from tests.support.chromium import TIMEOUT_MS, hook, needs_chromium

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), needs_chromium]

TABS_MAX = 60


def test_order_is_approved_with_confirmation_and_books_to_read_next(
    page: Page, system: RunningSystem, apart: Callable[..., Any]
) -> None:
    before = copies_on_shelf(page, "Book B")
    total = page.locator("#total").inner_text()
    order(page)
    order_id = expect_approved(page)
    success = hook(page, "alert-success")
    code = apart(lambda: captures(system))[order_id]
    expect(success).to_contain_text(f"{total} paid")
    assert total == f"€{code / 100:.2f}"
    expect(success).to_contain_text(re.compile(r"Confirmation code \S{6,}"))
    suggested = hook(page, "suggested-books")
    expect(suggested).to_contain_text("Recommended for you")
    for book in suggested.locator("li").all():
        expect(book.locator("strong")).not_to_be_empty()
        expect(book.locator("span")).not_to_be_empty()
    assert suggested.locator("li").count() >= 1
    expect(page.locator("#basket-count")).to_have_text("0")
    expect(page.locator(".book", has=page.get_by_role("heading", name="Book B", exact=True))).to_contain_text(
        f"{before - 2} in stock"
    )


def test_order_beyond_the_stock_is_rejected_and_takes_nothing(
    browser: Browser, system: RunningSystem, apart: Callable[..., Any]
) -> None:
    before = apart(lambda: stock(system))["Book E"]
    page = open_shop(browser, system, {"Book E": before + 1, "Book D": 1})
    expect(page.locator(".line", has_text="Book E")).to_contain_text(f"Only {before} left")
    order(page)
    expect_rejected(page, f"Only {before} of {before + 1} copies of “Book E” are left.")
    assert apart(lambda: stock(system))["Book E"] == before
    # Another try with what there is: the basket is still there.
    page.get_by_role("button", name="One copy fewer of Book E").click()
    order(page)
    expect_approved(page)
    expect(page.locator(".book", has=page.get_by_role("heading", name="Book E", exact=True))).to_contain_text(
        "Sold out"
    )
    expect(page.get_by_role("button", name="Add Book E to the basket")).to_be_disabled()
    page.context.close()


def test_declined_bank_transfer_is_told_and_a_card_may_pay_instead(
    page: Page, system: RunningSystem, apart: Callable[..., Any]
) -> None:
    before = apart(lambda: captures(system))
    page.get_by_label("Bank transfer").check()
    order(page)
    expect_rejected(page, "The payment was declined.")
    assert apart(lambda: captures(system)) == before
    page.get_by_label("Card", exact=True).check()
    order(page)
    order_id = expect_approved(page)
    assert apart(lambda: captures(system)).keys() - before.keys() == {order_id}


def test_double_click_makes_one_order(page: Page, system: RunningSystem, apart: Callable[..., Any]) -> None:
    before = apart(lambda: captures(system)).keys()
    posted = Posted(page)
    hook(page, "terms-accepted").check()
    hook(page, "submit-button").dblclick()
    order_id = expect_approved(page)
    assert len(posted.orders) == 1
    assert apart(lambda: captures(system)).keys() - before == {order_id}


def test_keyboard_alone_is_enough_and_always_shows_where_it_is(page: Page) -> None:
    def tab_to(identifier: str) -> None:
        for _ in range(TABS_MAX):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                """() => {
                    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                    return [document.activeElement.id, outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
                }"""
            )
            assert focused[1], f"the focus on {focused[0] or 'an element'} cannot be seen"
            if focused[0] == identifier:
                return
        pytest.fail(f"{identifier} is not reached by {TABS_MAX} tabs")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to basket and checkout")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to("name")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("Grace Hopper")
    tab_to("card-number")
    page.keyboard.type("4111111111111112")
    tab_to("terms")
    page.keyboard.press("Space")
    tab_to("submit-button")
    page.keyboard.press("Enter")
    # The problem has the focus; from there the reason leads to its field, and Enter places the corrected order.
    expect_rejected(page, "This is not a valid card number.")
    expect(page.locator("#problem")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Card number")).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("4111 1111-1111 1111")
    page.keyboard.press("Enter")
    expect_approved(page)


def test_two_visits_share_one_shelf(browser: Browser, page: Page, system: RunningSystem) -> None:
    other = open_shop(browser, system, {"1984": 3})
    before = copies_on_shelf(page, "1984")
    order(other)
    expect_approved(other)
    expect(page.locator(".book", has=page.get_by_role("heading", name="1984", exact=True))).to_contain_text(
        f"{before - 3} in stock", timeout=TIMEOUT_MS
    )
    other.context.close()
