"""Search as one types, and what is recommended for a basket: the latest question counts, and nothing breaks alone."""

import re
import threading

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.chromium import needs_chromium
from tests.unit.frontend.fake_orchestrator import FakeOrchestrator
from tests.unit.frontend.visit import opened

pytestmark = [pytest.mark.slow, needs_chromium]


def search(page: Page) -> Locator:
    return page.get_by_role("searchbox")


def shown(page: Page) -> Locator:
    return page.locator(".book:visible h3")


def status(page: Page) -> Locator:
    return page.locator("#catalogue-status")


def recommended(page: Page) -> Locator:
    return page.locator("#recommended")


def test_books_about_it_follow_those_that_are_named_so(page: Page, shop: FakeOrchestrator) -> None:
    shop.found["dune"] = ["Foundation", "Dune", "Neuromancer"]
    search(page).fill("dune")
    expect(shown(page)).to_have_text(["Dune", "Foundation", "Neuromancer"])
    expect(status(page)).to_have_text("1 found, 2 more that are about it")
    shop.found["galactic history"] = ["Foundation"]
    search(page).fill("galactic history")
    expect(shown(page)).to_have_text(["Foundation"])
    expect(status(page)).to_have_text("1 that are about it")
    search(page).fill("")
    expect(shown(page).first).to_have_text("Book A")
    expect(status(page)).to_have_text("40 titles")


def test_found_by_words_is_told_so(page: Page, shop: FakeOrchestrator) -> None:
    shop.found["mountain"] = ["The Hobbit"]
    shop.ranking = "full-text"
    search(page).fill("mountain")
    expect(status(page)).to_have_text("1 that mention it")


def type_without_a_pause(page: Page, text: str) -> None:
    """Key after key within the page: from outside a busy machine puts pauses between them."""
    search(page).evaluate(
        """(field, text) => {
            for (const letter of text) {
                field.value += letter;
                field.dispatchEvent(new InputEvent("input", { bubbles: true }));
            }
        }""",
        text,
    )


def test_only_a_pause_asks_and_only_the_latest_words_count(page: Page, shop: FakeOrchestrator) -> None:
    shop.found |= {"spice": ["Dune"], "spices and ships": ["Neuromancer"]}
    shop.held["spice"] = threading.Event()
    type_without_a_pause(page, "spice")
    expect(status(page)).to_have_text("Searching…")
    while "spice" not in shop.searches:
        page.wait_for_timeout(10)
    type_without_a_pause(page, "s and ships")
    expect(shown(page)).to_have_text(["Neuromancer"])
    shop.held["spice"].set()
    shop.found["ships"] = ["Foundation"]
    search(page).fill("ships")
    expect(shown(page)).to_have_text(["Foundation"])
    assert shop.searches == ["spice", "spices and ships", "ships"]


def test_a_question_that_is_out_of_date_is_cancelled(page: Page, shop: FakeOrchestrator) -> None:
    shop.held["spice"] = threading.Event()
    with page.expect_event("requestfailed", lambda request: "q=spice&" in request.url) as cancelled:
        with page.expect_request("**/books/search?q=spice&**"):
            search(page).fill("spice")
        search(page).fill("")
    assert cancelled.value.failure == "net::ERR_ABORTED"
    shop.held["spice"].set()


def test_without_the_shop_s_search_names_are_searched_and_that_is_told(page: Page, shop: FakeOrchestrator) -> None:
    shop.guide_away = True
    search(page).fill("cyberpunk")
    expect(shown(page)).to_have_text(["Neuromancer"])
    expect(status(page)).to_have_text("1 found (Only titles, authors and subjects were searched.)")
    search(page).fill("galactic history")
    expect(status(page)).to_have_text(
        "No book fits “galactic history”. (Only titles, authors and subjects were searched.)"
    )


def test_keyboard_leads_from_the_search_to_the_books_and_stays_there(page: Page, shop: FakeOrchestrator) -> None:
    shop.found["dune"] = ["Foundation"]
    shop.held["dune"] = threading.Event()
    search(page).fill("dune")
    expect(shown(page)).to_have_text(["Dune"])
    search(page).press("ArrowDown")
    add = page.get_by_role("button", name="Add Dune to the basket")
    expect(add).to_be_focused()
    shop.held["dune"].set()
    expect(shown(page)).to_have_text(["Dune", "Foundation"])
    expect(add).to_be_focused()
    expect(status(page)).to_have_attribute("role", "status")


def test_recommendations_change_with_the_basket_and_never_hold_a_book_of_it(page: Page, shop: FakeOrchestrator) -> None:
    expect(recommended(page)).to_be_hidden()
    shop.recommended = ["Dune", "Foundation", "Jane Eyre", "1984"]
    page.get_by_role("button", name="Remove Book A").click()
    titles = recommended(page).locator("strong")
    expect(titles).to_have_text(["Dune", "Foundation", "Jane Eyre"])
    recommended(page).get_by_role("button", name="Add Foundation to the basket").click()
    expect(titles).to_have_text(["Dune", "Jane Eyre", "1984"])
    # The focus stays among the recommendations.
    expect(recommended(page).get_by_role("button").first).to_be_focused()
    expect(page.locator(".line-title")).to_have_text(["Book B", "Foundation"])
    # Another copy is no other book.
    page.get_by_role("button", name="One more copy of Foundation").click()
    for title in ("Book B", "Foundation"):
        page.get_by_role("button", name=f"Remove {title}").click()
    expect(recommended(page)).to_be_hidden()
    assert shop.baskets[-3:] == [["Book B"], ["Book B", "Foundation"], ["Foundation"]]


def test_recommendations_that_are_away_leave_no_gap_and_come_back(
    browser: Browser, url: str, shop: FakeOrchestrator
) -> None:
    shop.guide_away = True
    shop.recommended = ["Dune"]
    page = opened(browser, url)
    expect(page.locator("#total-books")).to_have_text(re.compile("€"))
    expect(recommended(page)).to_be_hidden()
    shop.guide_away = False
    expect(recommended(page)).to_contain_text("Dune")
    page.context.close()


def test_a_rejected_order_leaves_the_recommendations_for_its_basket(page: Page, shop: FakeOrchestrator) -> None:
    shop.recommended = ["Dune"]
    page.get_by_role("button", name="Remove Book A").click()
    expect(recommended(page)).to_contain_text("Dune")
    expect(page.locator("#recommendations")).to_be_hidden()
