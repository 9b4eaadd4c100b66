"""An order travels through the whole system: approved, or rejected with the reason that a customer is told."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from bookstore.postgres import database_url
from bookstore.running import RunningSystem
from bookstore.shop_client import bank_transfer_body, captures, expiration, order_body
from bookstore.system import POSTGRES
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.system


def stock_of(http: httpx.Client, title: str) -> int:
    response = http.get(f"/api/database/stock/{title}")
    assert response.status_code == 200
    stock: int = response.json()["stock"]
    return stock


def test_order_is_approved_and_everybody_agrees_on_it(system: RunningSystem, http: httpx.Client) -> None:
    before = stock_of(http, "Book B")
    response = http.post("/checkout", json=order_body(("Book B", 2), shippingMethod="Express"))
    assert response.status_code == 200
    answer = response.json()
    assert answer["status"] == "Order Approved"
    assert answer["confirmationCode"]
    assert {"bookId", "title", "author"} <= answer["suggestedBooks"][0].keys()
    assert stock_of(http, "Book B") == before - 2
    price = next(book["priceCents"] for book in http.get("/books").json()["books"] if book["title"] == "Book B")
    assert captures(system)[answer["orderId"]] == 2 * price + 499

    def recorded() -> bool:
        with psycopg.connect(database_url(system.data_directory, system.state.process(POSTGRES).port)) as connection:
            try:
                row = connection.execute(
                    "SELECT state, amount_cents FROM order_records WHERE order_id = %s", (answer["orderId"],)
                ).fetchone()
            except psycopg.errors.UndefinedTable:
                return False  # the first record makes the table
        return row is not None and (row[0].lower(), row[1]) == ("approved", 2 * price + 499)

    eventually(recorded, "the order's record is in PostgreSQL")


def test_best_known_page_posts_text_and_its_own_name_for_the_terms(http: httpx.Client) -> None:
    body = order_body(("Book A", 1), ("Book B", 2))
    body["termsAccepted"] = body.pop("termsAndConditionsAccepted")
    response = http.post(
        "/checkout",
        content=json.dumps(body),
        headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": "http://localhost:8080"},
    )
    assert response.json()["status"] == "Order Approved"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"items": []}, "items_missing"),
        ({"items": [{"name": "No Such Book", "quantity": 1}]}, "book_unknown"),
        ({"user": {"name": "", "contact": "ada@example.com"}}, "name_missing"),
        ({"user": {"name": "Ada", "contact": ""}}, "contact_missing"),
        ({"user": {"name": "Ada", "contact": "ada@suspicious.ru"}}, "fraud"),
        ({"termsAndConditionsAccepted": False}, "terms_not_accepted"),
        ({"creditCard": {"number": "4111111111111112", "expirationDate": expiration(1), "cvv": "123"}}, "card_number"),
        ({"creditCard": {"number": "4111111111111111", "expirationDate": "01/20", "cvv": "123"}}, "card_expired"),
        ({"creditCard": {"number": "4111111111111111", "expirationDate": expiration(1), "cvv": "12"}}, "cvv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verification_rejects_with_its_reason(http: httpx.Client, changes: dict[str, Any], code: str) -> None:
    body = order_body(("Book A", 1), **changes)
    answer = http.post("/checkout", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "Order Rejected"
    assert answer.json()["suggestedBooks"] == []
    codes = [reason["code"] for reason in answer.json()["reasons"]]
    assert any(code in found for found in codes), codes
    refused = http.post("/v2/checkout", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "order_rejected"


def test_every_reason_is_told_not_only_the_first(http: httpx.Client) -> None:
    body = order_body(("Book A", 1), user={"name": "", "contact": ""}, termsAndConditionsAccepted=False)
    codes = {reason["code"] for reason in http.post("/checkout", json=body).json()["reasons"]}
    assert {"name_missing", "contact_missing", "terms_not_accepted"} <= codes


def test_order_beyond_the_stock_is_rejected_and_takes_nothing(system: RunningSystem, http: httpx.Client) -> None:
    before = stock_of(http, "Book E")
    answer = http.post("/checkout", json=order_body(("Book E", before + 1), ("Book D", 1))).json()
    assert answer["status"] == "Order Rejected"
    assert [reason["code"] for reason in answer["reasons"]] == ["out_of_stock"]
    assert stock_of(http, "Book E") == before
    assert answer["orderId"] not in captures(system)


def test_last_copy_is_sold_once(http: httpx.Client) -> None:
    assert stock_of(http, "Book F") == 1
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http.post("/checkout", json=order_body(("Book F", 1))).json(), range(8)))
    assert sorted(answer["status"] for answer in answers).count("Order Approved") == 1
    assert stock_of(http, "Book F") == 0


def test_declined_payment_rejects_and_gives_the_copies_back(system: RunningSystem, http: httpx.Client) -> None:
    before = stock_of(http, "Book D")
    answer = http.post("/checkout", json=bank_transfer_body(("Book D", 1))).json()
    assert answer["status"] == "Order Rejected"
    assert [reason["code"] for reason in answer["reasons"]] == ["payment_declined"]
    eventually(lambda: stock_of(http, "Book D") == before, "the reservation is undone")
    assert answer["orderId"] not in captures(system)


def test_asynchronous_order_is_known_from_the_moment_it_was_given_out(http: httpx.Client) -> None:
    accepted = http.post("/v2/checkout", json=order_body(("1984", 1)), headers={"Prefer": "respond-async"})
    assert accepted.status_code == 202
    assert accepted.json()["status"] == "PENDING"
    location = accepted.headers["Location"]

    def ended() -> bool:
        response = http.get(location)
        assert response.status_code == 200
        return bool(response.json()["status"] == "Order Approved")

    eventually(ended, "the order is approved")


def test_same_key_gives_the_same_order_and_another_body_is_refused(system: RunningSystem, http: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    before = stock_of(http, "1984")
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: http.post("/checkout", json=order_body(("1984", 1)), headers=headers).json(), range(4))
        )
    assert len({(answer["orderId"], answer["confirmationCode"]) for answer in answers}) == 1
    assert stock_of(http, "1984") == before - 1
    assert http.post("/checkout", json=order_body(("1984", 2)), headers=headers).status_code == 422


def test_page_is_served_and_names_its_hooks(system: RunningSystem) -> None:
    page = httpx.get(system.page_url, trust_env=False)
    assert page.status_code == 200
    # The two alerts come into being when there is something to say: tests/page sees them.
    for hook in ("submit-button", "terms-accepted", "suggested-books"):
        assert hook in page.text
