from typing import Any

import pytest

from orchestrator.problems import RequestInvalid
from orchestrator.schemas import parse_checkout
from tests.unit.orchestrator.fakes import CARD_NUMBER, CVV, body
from utils.domain.order import ITEMS_MAX, QUANTITY_MAX, OrderItem, PaymentMethod


def item(**changes: Any) -> dict[str, Any]:
    return {"name": "Book A", "quantity": 1, **changes}


QUANTITIES: tuple[object, ...] = (True, 1.5, 1.0, "1", -1, 0, 2**63, QUANTITY_MAX + 1, "١", [], {})

NO_ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    **{
        f"quantity {quantity!r}": ({"items": [item(quantity=quantity)]}, "/items/0/quantity") for quantity in QUANTITIES
    },
    "no quantity": ({"items": [{"name": "Book A"}]}, "/items/0/quantity"),
    "no title": ({"items": [item(), {"quantity": 1}]}, "/items/1/name"),
    "an empty title": ({"items": [item(name="")]}, "/items/0/name"),
    "a blank title": ({"items": [item(name=" \u2003 ")]}, "/items/0/name"),
    "a long title": ({"items": [item(name="a" * 201)]}, "/items/0/name"),
    "a line feed in a title": ({"items": [item(name="Book A\n")]}, "/items/0/name"),
    "a number as title": ({"items": [item(name=1984)]}, "/items/0/name"),
    "too many items": ({"items": [item()] * (ITEMS_MAX + 1)}, "/items"),
    "too many copies in two items": ({"items": [item(quantity=QUANTITY_MAX), item()]}, "/items/1/quantity"),
    "items as object": ({"items": {"name": "Book A"}}, "/items"),
    "an item as text": ({"items": ["Book A"]}, "/items/0"),
    "user as text": ({"user": "Ada"}, "/user"),
    "a name as number": ({"user": {"name": 1}}, "/user/name"),
    "a long name": ({"user": {"name": "a" * 501}}, "/user/name"),
    "header injection in a name": ({"user": {"name": "a\r\nSet-Cookie: b"}}, "/user/name"),
    "an escape sequence in a name": ({"user": {"name": "\x1b[2J"}}, "/user/name"),
    "a card as text": ({"creditCard": CARD_NUMBER}, "/creditCard"),
    "a card's number as number": ({"creditCard": {"number": int(CARD_NUMBER)}}, "/creditCard/number"),
    "a card's number that is long": ({"creditCard": {"number": "4" * 65}}, "/creditCard/number"),
    "an address as array": ({"billingAddress": []}, "/billingAddress"),
    "an unknown shipping method": ({"shippingMethod": "Teleport"}, "/shippingMethod"),
    "an unknown payment method": ({"paymentMethod": "cash"}, "/paymentMethod"),
    "an IBAN as number": ({"paymentMethod": "bankTransfer", "bankAccount": {"iban": 1}}, "/bankAccount/iban"),
    "gift wrapping as text": ({"giftWrapping": "yes"}, "/giftWrapping"),
    "terms as number": ({"termsAccepted": 1}, "/termsAccepted"),
    "a preference as number": ({"notificationPreferences": ["email", 1]}, "/notificationPreferences/1"),
    "too many preferences": ({"notificationPreferences": ["email"] * 21}, "/notificationPreferences"),
    "a device as text": ({"device": "phone"}, "/device"),
    "a bell in a comment": ({"userComment": "\a"}, "/userComment"),
}


@pytest.mark.parametrize(("changes", "field"), NO_ORDERS.values(), ids=NO_ORDERS.keys())
def test_a_wrong_type_or_a_broken_limit_is_refused_and_its_field_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_checkout(body(**changes))
    assert [reason.field for reason in refused.value.reasons] == [field]
    assert refused.value.message == refused.value.reasons[0].message
    assert "`" not in refused.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"creditCard": {"number": CARD_NUMBER + "\n", "cvv": CVV}},
        {"creditCard": {"cvv": CVV * 30}},
        {"shippingMethod": CARD_NUMBER},
        {"items": [{"name": CARD_NUMBER, "quantity": CVV}]},
    ],
)
def test_an_error_quotes_no_value(changes: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_checkout(body(**changes))
    assert CARD_NUMBER not in str(refused.value)
    assert CVV not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_page_s_order_is_understood() -> None:
    request = parse_checkout(body(unknownField={"a": [1]}, user={"name": " Ada ", "contact": "ada@example.com "}))
    assert request.items == (OrderItem("Book A", 1), OrderItem("Book B", 2))
    assert (request.customer.name, request.customer.contact) == ("Ada", "ada@example.com")
    assert (request.card.number, request.card.expiration_date, request.card.cvv) == (CARD_NUMBER, "12/34", CVV)
    assert request.billing_address.zip == "SW1"
    assert request.payment_method is PaymentMethod.CARD
    assert request.shipping_method == "Express"
    assert request.terms_accepted


def test_a_price_of_the_client_s_own_is_ignored() -> None:
    request = parse_checkout(body(items=[item(price=1, priceCents=1)], amountCents=1))
    assert request.items == (OrderItem("Book A", 1),)


def test_titles_that_come_twice_are_added_up() -> None:
    request = parse_checkout(body(items=[item(quantity=2), item(name="Book B"), item(name=" Book A ", quantity=3)]))
    assert request.items == (OrderItem("Book A", 5), OrderItem("Book B", 1))


def test_what_is_missing_is_left_to_verification() -> None:
    request = parse_checkout({})
    assert request.items == ()
    assert request.customer.name == request.card.number == request.billing_address.city == ""
    assert not request.terms_accepted
    assert request.shipping_method == "Standard"


@pytest.mark.parametrize(
    ("api_name", "page_name", "accepted"),
    [(None, None, False), (None, True, True), (True, None, True), (False, True, False), (True, False, True)],
)
def test_the_api_s_name_of_the_terms_wins(api_name: bool | None, page_name: bool | None, accepted: bool) -> None:
    names = {"termsAndConditionsAccepted": api_name, "termsAccepted": page_name}
    given = {name: value for name, value in names.items() if value is not None}
    assert parse_checkout(given).terms_accepted is accepted


def test_a_bank_transfer_needs_no_card_and_carries_none() -> None:
    request = parse_checkout(body(paymentMethod="bankTransfer", bankAccount={"iban": " DE89 3704 0044 0532 0130 00 "}))
    assert request.payment_method is PaymentMethod.BANK_TRANSFER
    assert request.bank_account.iban == "DE89 3704 0044 0532 0130 00"
    assert (request.card.number, request.card.cvv) == ("", "")


def test_a_message_may_have_several_lines() -> None:
    parse_checkout(body(giftMessage="To Bob,\r\n\twith love", userComment="<b>'; DROP TABLE orders--"))


def test_a_request_shows_no_card() -> None:
    shown = repr(parse_checkout(body()))
    assert CARD_NUMBER not in shown
    assert CVV not in shown
