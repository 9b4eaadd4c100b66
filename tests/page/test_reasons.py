"""Every reason for which verification rejects an order is told to the customer at the field that it is about."""

import pytest
from playwright.sync_api import Browser, Page, expect

from bookstore.running import RunningSystem
from tests.page.visit import expect_rejected, open_shop, order
from tests.support.chromium import hook, needs_chromium, press

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), needs_chromium]


@pytest.mark.parametrize(
    ("label", "value", "reason"),
    [
        ("Name", "", "Tell us your name."),
        ("Email or phone", "", "Tell us your email address or phone number."),
        ("Email or phone", "ada at home", "This is no email address or phone number."),
        ("Email or phone", "ada@suspicious.ru", "We suspect fraud: we take no orders from suspicious.ru."),
        ("Email or phone", "ada@mailinator.com", "We suspect fraud: mailinator.com gives out throw-away addresses."),
        ("Street", "", "Your billing address has no street."),
        ("Postal code", "", "Your billing address has no postal code."),
        ("Postal code", "SW1Y 4JH", "This is not how postal codes in Estonia look."),
        ("City", "", "Your billing address has no city."),
        ("Country", "", "Your billing address has no country."),
        ("Card number", "", "Tell us the number of your card."),
        ("Card number", "4111111111111112", "This is not a valid card number. Please check its digits."),
        ("Card number", "0000 0000 0000 0000", "This is not a valid card number. Please check its digits."),
        ("Expires (MM/YY)", "", "Tell us when your card expires."),
        ("Expires (MM/YY)", "soon", "Write the expiry date as MM/YY, as on the card."),
        ("Expires (MM/YY)", "01/20", "This card has expired."),
        ("Security code (CVV)", "", "Tell us the security code of your card."),
        ("Security code (CVV)", "12", "The security code of this card has 3 digits."),
    ],
)
def test_reason_is_told_at_its_field(page: Page, label: str, value: str, reason: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    order(page)
    expect_rejected(page, reason)
    expect(field).to_have_accessible_description(reason)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    hook(page, "alert-error").get_by_role("link", name=reason).click()
    expect(field).to_be_focused()


@pytest.mark.parametrize(
    ("iban", "reason"),
    [
        ("", "Tell us the IBAN of your bank account."),
        ("EE38 2200 2210 2014 5686", "This is not a valid IBAN. Please check it."),
    ],
)
def test_account_that_cannot_be_one_is_told_at_the_iban(page: Page, iban: str, reason: str) -> None:
    page.get_by_label("Bank transfer").check()
    page.get_by_label("IBAN").fill(iban)
    order(page)
    expect_rejected(page, reason)
    expect(page.get_by_label("IBAN")).to_have_accessible_description(reason)


def test_terms_that_are_not_accepted_are_told_at_their_box(page: Page) -> None:
    terms = hook(page, "terms-accepted")
    expect(terms).not_to_be_checked()
    press(page)
    expect_rejected(page, "Accept the terms and conditions to order.")
    expect(terms).to_have_accessible_description("Accept the terms and conditions to order.")


def test_empty_basket_is_told_in_the_basket(browser: Browser, system: RunningSystem) -> None:
    page = open_shop(browser, system, {})
    order(page)
    expect_rejected(page, "Your order has no books in it.")
    expect(page.locator("#items-error")).to_have_text("Your order has no books in it.")
    page.context.close()


def test_suspicious_quantity_is_told_in_the_basket(browser: Browser, system: RunningSystem) -> None:
    page = open_shop(browser, system, {"Harry Potter": 100})
    order(page)
    expect_rejected(page, "We suspect fraud: 100 or more copies of one book need a call first.")
    expect(page.locator("#items-error")).to_contain_text("100 or more copies")
    page.context.close()


def test_book_that_is_not_sold_any_more_is_told_at_its_line(browser: Browser, system: RunningSystem) -> None:
    page = open_shop(browser, system, {"1984": 1, "Necronomicon": 1})
    order(page)
    reason = "We do not sell a book called “Necronomicon”."
    expect_rejected(page, reason)
    expect(page.get_by_label("Copies of Necronomicon")).to_have_accessible_description(reason)
    expect(page.get_by_label("Copies of 1984")).to_have_accessible_description("")
    page.context.close()


def test_all_reasons_are_told_together(page: Page) -> None:
    reasons = {
        "Name": "Tell us your name.",
        "City": "Your billing address has no city.",
        "Card number": "Tell us the number of your card.",
        "Security code (CVV)": "Tell us the security code of your card.",
    }
    for label in reasons:
        page.get_by_label(label, exact=True).fill("")
    press(page)
    for label, reason in reasons.items():
        expect_rejected(page, reason)
        expect(page.get_by_label(label, exact=True)).to_have_accessible_description(reason)
    expect_rejected(page, "Accept the terms and conditions to order.")
