"""The page in Chromium, and the hooks by which tests of the page find what they press and read."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM: Final = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)")

# Of what the page is expected to show, and of every action; a machine may be busy.
TIMEOUT_MS: Final = 30_000
expect.set_options(timeout=TIMEOUT_MS)


# Pictures are kept for people to look at.
SCREENSHOTS: Final = Path(__file__).resolve().parent.parent.parent / "build" / "screenshots"


@contextmanager
def launched_chromium(*arguments: str) -> Iterator[Browser]:
    """A browser; while it is open its event loop runs in this thread, so no other may."""
    with sync_playwright() as playwright:
        # Containers have little /dev/shm, and root has no sandbox.
        options = ["--no-sandbox", "--disable-dev-shm-usage", *arguments]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options, timeout=2 * TIMEOUT_MS)
        yield browser
        browser.close()


def hook(page: Page, name: str) -> Locator:
    """An element by the name that the course's browser tests know."""
    return page.locator(f"[data-cy={name}]")


def press(page: Page) -> None:
    """Places the order."""
    hook(page, "submit-button").click()
