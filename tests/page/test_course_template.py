"""The course's template page works unchanged: from another origin, with text for JSON, and no preflight."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bookstore.running import RunningSystem
from bookstore.shop_client import expiration
from bookstore.system import HOST, ORCHESTRATOR, PAGE
from tests.support.chromium import TIMEOUT_MS, launched_chromium, needs_chromium

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), needs_chromium]

TEMPLATE = Path(__file__).with_name("course_template.html")


@pytest.fixture(scope="module")
def template_address() -> Iterator[str]:
    """A plain server of the one file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(TEMPLATE.read_bytes())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
            """Tests do not talk."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(system: RunningSystem, template_address: str) -> Iterator[Browser]:
    """For it, this system's orchestrator is at localhost:8081, and the template is where the shop's page would be."""
    page_port = system.state.process(PAGE).port
    rules = f"MAP localhost:{page_port} {template_address}, MAP localhost:8081 {system.address(ORCHESTRATOR)}"
    with launched_chromium(f"--host-resolver-rules={rules}") as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, system: RunningSystem) -> Iterator[Page]:
    page = browser.new_context().new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"http://localhost:{system.state.process(PAGE).port}/")
    yield page
    page.context.close()


@pytest.fixture
def sent(page: Page) -> list[str]:
    """The method of every request to the orchestrator, preflights (OPTIONS) included.

    A browser asks the page's own origin for an icon whenever it likes.
    """
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    methods: list[str] = []

    def record(event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http://localhost:8081/"):
            methods.append(event["request"]["method"])

    session.on("Network.requestWillBeSent", record)
    return methods


def submit(page: Page, expires: str) -> str:
    page.locator("[name=creditCardExpirationDate]").fill(expires)
    page.get_by_role("button", name="Submit").click()
    status = page.locator("#status")
    expect(status).not_to_be_empty(timeout=2 * TIMEOUT_MS)
    return status.inner_text()


def test_template_orders_without_a_preflight(page: Page, sent: list[str]) -> None:
    page.locator("[name=termsAndConditions]").check()
    with page.expect_request("**/checkout") as request:
        assert submit(page, expiration(1)).endswith("Order Approved")
    assert request.value.headers["content-type"] == "text/plain;charset=UTF-8"
    assert page.locator("#books li").count() >= 1
    assert sent == ["POST"]


def test_preflight_would_have_been_seen(page: Page, sent: list[str]) -> None:
    page.evaluate(
        """() => fetch("http://localhost:8081/checkout", {
            method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
        }).then((answer) => answer.text())"""
    )
    assert sorted(sent) == ["OPTIONS", "POST"]


@pytest.mark.parametrize("expires", ["", "01/20", "13/99", "next year"])
def test_whatever_is_typed_as_expiry_is_rejected_and_the_page_goes_on(page: Page, expires: str) -> None:
    page.locator("[name=termsAndConditions]").check()
    assert submit(page, expires).endswith("Order Rejected")
    assert page.locator("#books li").count() == 0


def test_terms_that_are_not_accepted_are_understood_by_the_template_s_name(page: Page) -> None:
    assert submit(page, expiration(1)).endswith("Order Rejected")
