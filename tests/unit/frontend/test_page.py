"""The page in a real browser, against an orchestrator whose answers are chosen."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import hook, needs_chromium, press
from tests.unit.frontend.fake_orchestrator import APPROVED, BOOKS, ORDER_ID, FakeOrchestrator, refusal, rejected
from tests.unit.frontend.visit import opened

pytestmark = [pytest.mark.slow, needs_chromium]


def test_terms_are_for_the_customer_to_accept(browser: Browser, url: str, shop: FakeOrchestrator) -> None:
    page = opened(browser, url)
    terms = hook(page, "terms-accepted")
    expect(terms).not_to_be_checked()
    reason = ("terms_not_accepted", "Accept the terms and conditions to order.", "/termsAndConditionsAccepted")
    shop.checkout_answers = [(400, refusal("order_rejected", reason[1], reason))]
    press(page)
    expect(terms).to_have_accessible_description("Accept the terms and conditions to order.")
    expect(hook(page, "alert-error")).to_contain_text("Accept the terms and conditions to order.")
    assert shop.posted[0].body["termsAndConditionsAccepted"] is False
    terms.check()
    expect(terms).not_to_have_attribute("aria-invalid", "true")
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    assert shop.posted[1].body["termsAndConditionsAccepted"] is True
    page.context.close()


def test_defaults_and_one_click_make_an_approved_order(page: Page, shop: FakeOrchestrator) -> None:
    button, success = hook(page, "submit-button"), hook(page, "alert-success")
    expect(success).to_have_count(0)
    press(page)
    expect(success).to_contain_text("Order submitted!")
    expect(success).to_contain_text(ORDER_ID)
    expect(success).to_contain_text("Processing...")
    expect(button).to_be_disabled()
    expect(button).to_have_class(re.compile(r"\bloading\b"))
    shop.may_end.set()
    expect(success).to_contain_text("Order completed successfully!")
    expect(success).to_contain_text("PAY-7K2Q-9XMD")
    expect(success).to_contain_text("€42.00")
    expect(button).to_be_enabled()
    expect(button).not_to_have_class(re.compile(r"\bloading\b"))
    suggested = hook(page, "suggested-books")
    expect(suggested).to_contain_text("Recommended for you")
    for text in ("Dune", "Frank Herbert", "Foundation", "Isaac Asimov"):
        expect(suggested).to_contain_text(text)
    expect(page.locator("#basket-count")).to_have_text("0")
    expect(hook(page, "alert-error")).to_have_count(0)


def test_order_has_every_field_of_the_contract(page: Page, shop: FakeOrchestrator) -> None:
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    (posted,) = shop.posted
    assert re.fullmatch(r"[0-9a-f]{32}", posted.key)
    assert posted.body["items"] == [{"name": "Book A", "quantity": 1}, {"name": "Book B", "quantity": 2}]
    card = posted.body["creditCard"]
    assert (card["number"], card["cvv"]) == ("4111111111111111", "123")
    month, year = map(int, card["expirationDate"].split("/"))
    assert (2000 + year, month) > (datetime.now(UTC).year, datetime.now(UTC).month)
    assert posted.body["termsAndConditionsAccepted"] is True
    assert set(posted.body) == {
        "user", "creditCard", "items", "billingAddress", "shippingMethod", "giftWrapping", "giftMessage",
        "termsAndConditionsAccepted", "userComment", "discountCode", "notificationPreferences", "device", "browser",
        "appVersion", "screenResolution", "referrer", "deviceLanguage", "paymentMethod",
    }  # fmt: skip
    assert set(posted.body["billingAddress"]) == {"street", "city", "state", "zip", "country"}
    assert set(posted.body["device"]) == {"type", "model", "os"}
    assert posted.body["browser"]["name"] == "Chrome"


def test_what_the_customer_chooses_is_what_is_ordered(page: Page, shop: FakeOrchestrator) -> None:
    page.get_by_label("Card number").fill("4111-1111 1111 1111")
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    page.get_by_label("Express").check()
    page.get_by_label("Wrap it as a gift").check()
    page.get_by_label("Message on the card").fill("Happy birthday!")
    page.get_by_role("button", name="Remove Book A").click()
    page.get_by_role("button", name="One more copy of Book B").click()
    page.get_by_role("searchbox").fill("GARCIA")
    page.get_by_role("button", name="Add One Hundred Years of Solitude to the basket").click()
    expect(page.locator("#total")).to_have_text("€63.98")
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    body = shop.posted[0].body
    assert body["creditCard"]["number"] == "4111111111111111"
    assert body["user"]["name"] == "Grace Hopper"
    assert (body["shippingMethod"], body["giftWrapping"], body["giftMessage"]) == ("Express", True, "Happy birthday!")
    assert body["items"] == [
        {"name": "Book B", "quantity": 3},
        {"name": "One Hundred Years of Solitude", "quantity": 1},
    ]


def test_bank_transfer_sends_an_iban_and_no_card(page: Page, shop: FakeOrchestrator) -> None:
    page.get_by_label("Bank transfer").check()
    expect(page.get_by_label("Card number")).to_be_hidden()
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    body = shop.posted[0].body
    assert (body["paymentMethod"], body["bankAccount"]) == ("bankTransfer", {"iban": "EE382200221020145685"})
    assert "creditCard" not in body


def test_each_reason_is_shown_at_its_field_until_it_is_corrected(page: Page, shop: FakeOrchestrator) -> None:
    reasons = (
        ("card_number_invalid", "This is no card number.", "/creditCard/number"),
        ("card_brand_unknown", "We do not take this card.", "/creditCard/number"),
        ("quantity_invalid", "Order at least one copy.", "/items/1/quantity"),
        ("terms_not_accepted", "Accept the terms.", "/termsAndConditionsAccepted"),
        ("fraud_score", "We suspect fraud.", ""),
    )
    shop.checkout_answers = [(400, refusal("order_rejected", "This is no card number.", *reasons))]
    press(page)
    alert = hook(page, "alert-error")
    expect(alert).to_contain_text("Order Rejected")
    for _, message, _ in reasons:
        expect(alert).to_contain_text(message)
    expect(hook(page, "alert-success")).to_have_count(0)
    number = page.get_by_label("Card number")
    expect(number).to_have_attribute("aria-invalid", "true")
    expect(number).to_have_accessible_description("This is no card number. We do not take this card.")
    expect(page.get_by_label("Copies of Book B")).to_have_accessible_description("Order at least one copy.")
    expect(hook(page, "terms-accepted")).to_have_accessible_description("Accept the terms.")
    expect(page.get_by_label("Copies of Book A")).not_to_have_attribute("aria-invalid", "true")
    alert.get_by_role("link", name="This is no card number.").click()
    expect(number).to_be_focused()
    number.fill("4242424242424242")
    expect(number).not_to_have_attribute("aria-invalid", "true")
    expect(number).to_have_accessible_description("")
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    expect(alert).to_have_count(0)
    assert shop.posted[0].key != shop.posted[1].key


def test_order_that_ends_rejected_says_why(page: Page, shop: FakeOrchestrator) -> None:
    shop.order_states = [rejected(("payment_declined", "Your bank declined the payment.", "/creditCard"))]
    shop.may_end.set()
    press(page)
    alert = hook(page, "alert-error")
    expect(alert).to_contain_text("Order Rejected")
    expect(alert).to_contain_text("Your bank declined the payment.")
    expect(hook(page, "alert-success")).to_have_count(0)
    expect(hook(page, "suggested-books")).to_be_hidden()
    # The basket is still there for another try.
    expect(page.locator("#basket-count")).to_have_text("3")


def test_double_click_makes_one_order(page: Page, shop: FakeOrchestrator) -> None:
    hook(page, "submit-button").dblclick()
    page.evaluate("document.getElementById('checkout-form').requestSubmit()")
    expect(hook(page, "alert-success")).to_be_visible()
    assert len(shop.posted) == 1


def test_lost_answer_is_told_and_repeated_with_the_same_key(page: Page, shop: FakeOrchestrator) -> None:
    shop.hang_up = 1
    press(page)
    expect(hook(page, "alert-error")).to_contain_text("may or may not have arrived")
    expect(hook(page, "alert-error")).not_to_contain_text("Rejected")
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    first, second = shop.posted
    assert first == second


def test_changed_order_is_another_one(page: Page, shop: FakeOrchestrator) -> None:
    shop.checkout_answers = [(503, refusal("unavailable", "Try again."))]
    press(page)
    expect(hook(page, "alert-error")).to_contain_text("Nothing was ordered")
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    press(page)
    expect(hook(page, "alert-success")).to_be_visible()
    first, second = shop.posted
    assert first.key != second.key


@pytest.mark.parametrize(
    ("status", "answer", "text"),
    [
        (503, {**refusal("order_unconfirmed", "?"), "orderId": ORDER_ID}, "not confirmed"),
        (500, refusal("internal", "?"), "our side"),
        (400, refusal("bad_request", "The zip is too long.", ("x", "Too long.", "/billingAddress/zip")), "Too long."),
    ],
)
def test_other_failures_are_told_truthfully(
    page: Page, shop: FakeOrchestrator, status: int, answer: dict[str, Any], text: str
) -> None:
    shop.checkout_answers = [(status, answer)]
    press(page)
    expect(hook(page, "alert-error")).to_contain_text(text)
    expect(hook(page, "alert-error")).not_to_contain_text("Rejected")
    expect(hook(page, "submit-button")).to_be_enabled()


def test_absent_shop_is_told_and_found_again(page: Page, shop: FakeOrchestrator) -> None:
    press(page)
    expect(hook(page, "alert-success")).to_contain_text("Processing...")
    shop.stop()
    expect(hook(page, "alert-success")).to_contain_text("The shop does not answer at the moment. Your order is safe")
    expect(page.locator("#catalogue-status")).to_contain_text("does not answer")
    shop.may_end.set()
    shop.stock["Book A"] = 99
    shop.start()
    expect(hook(page, "alert-success")).to_contain_text("Order completed successfully!")
    expect(page.locator(".book").first).to_contain_text("99 in stock")
    expect(page.locator("#catalogue-status")).to_contain_text("titles")


def test_order_is_followed_after_the_page_is_loaded_again(page: Page, shop: FakeOrchestrator) -> None:
    press(page)
    expect(hook(page, "alert-success")).to_contain_text(ORDER_ID)
    page.reload()
    expect(hook(page, "alert-success")).to_contain_text("Processing...")
    expect(hook(page, "submit-button")).to_be_disabled()
    shop.order_states = [APPROVED]
    shop.may_end.set()
    expect(hook(page, "alert-success")).to_contain_text("Order completed successfully!")
    page.reload()
    expect(page.locator(".book").first).to_be_visible()
    expect(hook(page, "alert-success")).to_have_count(0)
    assert len(shop.posted) == 1


def test_stock_is_live_and_scarcity_is_said(page: Page, shop: FakeOrchestrator) -> None:
    book = page.locator(".book", has=page.get_by_role("heading", name="Book B", exact=True))
    expect(book).to_contain_text("75 in stock")
    shop.stock["Book B"] = 1
    expect(book).to_contain_text("Only 1 left")
    expect(page.locator(".line", has_text="Book B")).to_contain_text("Only 1 left")
    shop.stock["Book B"] = 0
    expect(book.get_by_role("button", name="Add Book B to the basket")).to_be_disabled()


def test_search_finds_titles_authors_and_subjects(page: Page) -> None:
    shown = page.locator(".book:visible h3")
    search = page.get_by_role("searchbox")
    search.fill("bronte eyre")
    expect(shown).to_have_text(["Jane Eyre"])
    search.fill("cyberpunk")
    expect(shown).to_have_text(["Neuromancer"])
    expect(page.locator("#catalogue-status")).to_have_text("1 found")
    search.fill("no such book")
    expect(shown).to_have_count(0)
    expect(page.locator("#catalogue-status")).to_have_text("No book fits “no such book”.")
    search.fill("")
    expect(shown).to_have_count(24)
    page.get_by_role("button", name=re.compile("Show all")).click()
    expect(shown).to_have_count(len(BOOKS))


def test_basket_outlives_the_page(page: Page) -> None:
    page.get_by_role("button", name="Remove Book A").click()
    page.get_by_label("Copies of Book B").fill("7")
    page.get_by_label("Copies of Book B").blur()
    page.reload()
    expect(page.get_by_label("Copies of Book B")).to_have_value("7")
    expect(page.get_by_label("Copies of Book A")).to_have_count(0)


def test_keyboard_alone_is_enough(browser: Browser, url: str, shop: FakeOrchestrator) -> None:
    page = opened(browser, url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to basket and checkout")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "Copies of Book A"
    hook(page, "terms-accepted").press("Space")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(hook(page, "alert-success")).to_be_visible()
    assert len(shop.posted) == 1
    assert shop.posted[0].body["termsAndConditionsAccepted"] is True
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1366])
def test_nothing_is_cut_off_on_any_screen(browser: Browser, url: str, width: int, scheme: Any) -> None:
    page = opened(browser, url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.get_by_role("button", name=re.compile("Show all")).click()
    for title in ("Designing Data-Intensive Applications", "Structure and Interpretation of Computer Programs"):
        page.get_by_role("button", name=f"Add {title} to the basket").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert contrast_of_texts(page) >= 4.5
    page.context.close()


def contrast_of_texts(page: Page) -> float:
    """The least contrast (WCAG 2.2, 1.4.3) of the plain texts with what is behind them."""
    least: float = page.evaluate(
        """() => {
            const parse = (color) => color.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
                .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
                .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
            const behind = (element) => {
                for (let at = element; at; at = at.parentElement) {
                    const color = parse(getComputedStyle(at).backgroundColor);
                    if (color[3] !== 0) return color;
                }
            };
            const texts = [...document.querySelectorAll(
                "p, h1, h2, h3, label, legend, dt, dd, button:enabled, .price, .stock, .line-note, .badge")]
                .filter((element) => element.checkVisibility() && element.textContent.trim());
            return Math.min(...texts.map((element) => {
                const [one, other] = [parse(getComputedStyle(element).color), behind(element)].map(light);
                return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            }));
        }"""
    )
    return least
