"""The orchestrator is away, or its answer is lost: the page says the truth, and what is repeated makes one order."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from bookstore.running import RunningSystem
from bookstore.shop_client import captures
from bookstore.system import ORCHESTRATOR, PAYMENT
from tests.page.visit import Posted, expect_approved, order
from tests.support.chromium import TIMEOUT_MS, hook, needs_chromium, press

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), needs_chromium]

# The page waits 15 s for an answer; a started orchestrator needs its time on a busy machine.
PATIENCE_MS = 3 * TIMEOUT_MS


def press_until_approved(page: Page, posted: Posted) -> str:
    """Repeats as the page says, while the shop comes back; every try carries the first one's key and body."""
    success, alert = hook(page, "alert-success"), hook(page, "alert-error")
    for _ in range(10):
        press(page)
        expect(success.or_(alert)).to_be_visible(timeout=PATIENCE_MS)
        expect(hook(page, "submit-button")).to_be_enabled(timeout=PATIENCE_MS)
        if success.is_visible():
            break
    assert len(set(posted.orders)) == 1
    return expect_approved(page)


def test_silent_orchestrator_is_told_and_the_repeated_order_is_one(
    page: Page, system: RunningSystem, apart: Callable[..., Any]
) -> None:
    before = apart(lambda: captures(system)).keys()
    posted = Posted(page)
    alert = hook(page, "alert-error")
    # Its workers are processes of the same group.
    group = system.pid(ORCHESTRATOR)
    os.killpg(group, signal.SIGSTOP)
    try:
        order(page)
        expect(alert).to_contain_text("We cannot reach the shop", timeout=PATIENCE_MS)
        expect(alert).to_contain_text("Your order may or may not have arrived.")
        expect(alert).to_contain_text("it will not be placed twice")
        expect(alert).not_to_contain_text("Rejected")
        expect(page.locator("#catalogue-status")).to_contain_text("does not answer", timeout=PATIENCE_MS)
        # What the customer has typed and chosen is still there.
        expect(page.locator("#basket-count")).to_have_text("3")
        expect(hook(page, "terms-accepted")).to_be_checked()
    finally:
        os.killpg(group, signal.SIGCONT)
    order_id = press_until_approved(page, posted)
    assert apart(lambda: captures(system)).keys() - before == {order_id}
    expect(page.locator("#catalogue-status")).to_contain_text("titles", timeout=PATIENCE_MS)


def test_lost_answer_and_its_repetition_make_one_order(
    page: Page, system: RunningSystem, apart: Callable[..., Any]
) -> None:
    before = apart(lambda: captures(system)).keys()
    posted = Posted(page)
    accepted: list[str] = []

    def lose_the_answer(route: Route) -> None:
        accepted.append(route.fetch().json()["orderId"])
        route.abort("connectionreset")

    page.route("**/v2/checkout", lose_the_answer, times=1)
    order(page)
    expect(hook(page, "alert-error")).to_contain_text("Your order may or may not have arrived.")
    order_id = press_until_approved(page, posted)
    assert len(posted.orders) == 2
    assert accepted == [order_id]
    assert apart(lambda: captures(system)).keys() - before == {order_id}


def test_orchestrator_killed_under_a_pending_order_is_told_and_the_order_ends(
    page: Page, system: RunningSystem, apart: Callable[..., Any]
) -> None:
    before = apart(lambda: captures(system)).keys()
    posted = Posted(page)
    success = hook(page, "alert-success")
    payment = system.pid(PAYMENT)
    # While payment stands still no order can end.
    os.kill(payment, signal.SIGSTOP)
    try:
        order(page)
        expect(success).to_contain_text("Order submitted!")
        expect(success).to_contain_text("Processing...")
        # The orchestrator is soon there again: the page itself listens for what it says meanwhile.
        page.evaluate(
            """() => {
                const progress = document.getElementById("progress");
                window.told = new Promise((resolve) => new MutationObserver(() => {
                    if (progress.textContent.includes("The shop does not answer at the moment. Your order is safe")) {
                        resolve();
                    }
                }).observe(progress, { childList: true, characterData: true, subtree: true }));
            }"""
        )
        os.kill(system.pid(ORCHESTRATOR), signal.SIGKILL)
        page.evaluate("window.told")
        expect(hook(page, "submit-button")).to_be_disabled()
    finally:
        os.kill(payment, signal.SIGCONT)
    expect(success).to_contain_text("Order completed successfully!", timeout=PATIENCE_MS)
    order_id = expect_approved(page)
    assert len(posted.orders) == 1
    assert apart(lambda: captures(system)).keys() - before == {order_id}
