"""The page in Chromium, served by nginx from its container, with the orchestrator in another."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from frontend.server import security_headers
from tests.containers.compose import Compose
from tests.e2e.waiting import eventually
from tests.page.visit import defects_of, expect_approved, expect_rejected, open_shop, order
from tests.support.chromium import SCREENSHOTS, hook, launched_chromium, needs_chromium
from tests.support.plain_socket import answered

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@needs_chromium
def test_an_order_is_approved_through_the_page(compose: Compose, browser: Browser) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = open_shop(browser, compose, {"Book A": 1, "Book B": 2})
    defects = defects_of(page)
    page.screenshot(path=SCREENSHOTS / "containers-shop.png")
    order(page)
    expect_approved(page)
    expect(hook(page, "suggested-books").locator("li").first).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "containers-approved.png", full_page=True)
    assert defects == []
    page.context.close()


@needs_chromium
def test_a_rejection_tells_its_reason_on_the_page(compose: Compose, browser: Browser) -> None:
    page = open_shop(browser, compose, {"Book A": 1})
    page.get_by_label("Card number").fill("4111111111111112")
    order(page)
    expect_rejected(page, "This is not a valid card number.")
    page.screenshot(path=SCREENSHOTS / "containers-rejected.png", full_page=True)
    page.context.close()


@pytest.mark.parametrize("path", ["/", "/js/main.js", "/style.css", "/nowhere"])
def test_nginx_sends_the_same_security_headers_as_the_local_server(compose: Compose, path: str) -> None:
    answer = httpx.get(compose.page_url + path, timeout=10, trust_env=False)
    assert answer.status_code == (404 if path == "/nowhere" else 200)
    expected = security_headers(8081)
    assert {name: answer.headers.get(name) for name in expected} == expected


FLOOD = 2_000


def on_the_wire(compose: Compose, request: bytes) -> bytes:
    """What a plain socket is answered until nginx closes it."""
    url = httpx.URL(compose.page_url)
    return answered(url.host, url.port or 80, request, timeout_s=60)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 405),
        (b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n", 413),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: shop\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: shop\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: shop\r\n\r\n", 400),
        (b"GET /js/..%2f..%2fnginx.conf HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ],
    ids=["a method", "a body", "a path", "a header", "outside", "outside, encoded", "two framings", "no HTTP"],
)
def test_nginx_refuses_what_no_browser_sends(compose: Compose, request_: bytes, status: int) -> None:
    assert on_the_wire(compose, request_).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_that_never_ends_its_headers_is_left(compose: Compose) -> None:
    # Without an end of nginx's own, the socket's time ends the test with an error.
    assert on_the_wire(compose, b"GET / HTTP/1.1\r\nHost: shop\r\nX: y") == b""


def test_a_flood_is_told_to_come_back_and_then_it_is_served(compose: Compose) -> None:
    one = b"GET /config.json HTTP/1.1\r\nHost: shop\r\n"
    told = on_the_wire(compose, (one + b"\r\n") * FLOOD + one + b"Connection: close\r\n\r\n")
    _, _, refused = told.partition(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 1\r\n" in refused
    assert b'{"error":{"code":"too_many_requests"' in refused
    eventually(lambda: httpx.get(compose.page_url, timeout=10, trust_env=False).is_success, "the page is back")
