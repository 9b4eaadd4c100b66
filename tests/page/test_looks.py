"""The page on every screen, light and dark: nothing cut off, nothing that axe minds, and pictures to look at."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from bookstore.running import RunningSystem
from tests.page.visit import expect_approved, expect_rejected, open_shop, order
from tests.support.chromium import needs_chromium, press

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), needs_chromium]

SCREENS = {"desktop": (1200, 900), "phone": (360, 740)}


def first_sight(page: Page) -> None:
    """The shop as it opens."""


def whole_shelf(page: Page) -> None:
    page.get_by_role("button", name=re.compile("Show all")).click()
    page.get_by_text("Comment, discount code and news").click()
    page.get_by_label("Wrap it as a gift").check()
    page.get_by_label("Bank transfer").check()


def search_in_vain(page: Page) -> None:
    page.get_by_role("searchbox").fill("football results")
    expect(page.locator("#catalogue-status")).to_have_text("No book fits “football results”.")


def search_in_plain_words(page: Page) -> None:
    expect(page.locator("#recommended")).to_be_visible()
    page.get_by_role("searchbox").fill("stranded on the red planet")
    # By meaning, or by words while the first vectors are computed.
    expect(page.locator("#catalogue-status")).to_have_text(re.compile(r"^\d+ that (are about|mention) it$"))


def approved(page: Page) -> None:
    order(page)
    expect_approved(page)


def rejected(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("")
    page.get_by_label("Card number").fill("4111 1111 1111 1112")
    page.get_by_label("Postal code").fill("SW1Y 4JH")
    press(page)
    expect_rejected(page, "Tell us your name.")


STATES = (first_sight, whole_shelf, search_in_vain, search_in_plain_words, approved, rejected)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Browser, system: RunningSystem, screen: str, scheme: Any) -> Iterator[Page]:
    width, height = SCREENS[screen]
    page = open_shop(
        browser,
        system,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        has_touch=screen == "phone",
        is_mobile=screen == "phone",
        reduced_motion="reduce",
    )
    yield page
    page.context.close()


@pytest.mark.parametrize("reach", STATES, ids=lambda state: state.__name__)
def test_every_state_is_whole_and_accessible(
    page: Page, screen: str, scheme: str, reach: Callable[[Page], None], screenshots: Path
) -> None:
    reach(page)
    picture = screenshots / f"{reach.__name__}-{screen}-{scheme}"
    page.screenshot(path=picture.with_suffix(".png"))
    page.screenshot(path=picture.with_name(f"{picture.name}-full.png"), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]
    assert serious_violations(page) == []


def test_axe_would_have_minded(page: Page) -> None:
    page.evaluate("document.querySelector('label[for=city]').remove()")
    assert serious_violations(page) == ["label: #city"]


def serious_violations(page: Page) -> list[str]:
    """What axe finds that is serious or critical: rule and place."""
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {', '.join(str(part) for node in violation['nodes'] for part in node['target'])}"
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]
