"""The body of a checkout: its types and limits, and the order that it asks for.

Only what makes a body no order at all is refused here. Whether the order is a good one (items, user, card, fraud) is
for verification to say: what is missing is empty.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from orchestrator.problems import RequestInvalid
from utils.domain.order import (
    ITEMS_MAX,
    QUANTITY_MAX,
    TEXT_LENGTH_MAX,
    TITLE_LENGTH_MAX,
    Address,
    BankAccount,
    Customer,
    OrderItem,
    PaymentCard,
    PaymentMethod,
    Reason,
)

_T = TypeVar("_T")

ShippingMethod = Literal["Standard", "Express", "Next-Day"]

_ONE_LINE: Final = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
# A text may have several lines, but neither NUL nor what moves a terminal's cursor.
_LINES: Final = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*\Z"

_Line = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX, pattern=_ONE_LINE)]
_Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX, pattern=_LINES)]
_Title = Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_LENGTH_MAX, pattern=_ONE_LINE)]
_Means = Annotated[str, msgspec.Meta(max_length=64, pattern=_ONE_LINE)]
_Quantity = Annotated[int, msgspec.Meta(ge=1, le=QUANTITY_MAX)]


class CheckoutRequest(msgspec.Struct, frozen=True):
    """An order as a customer asks for it. Text is stripped; no title comes twice."""

    customer: Customer
    billing_address: Address
    items: tuple[OrderItem, ...]
    payment_method: PaymentMethod
    # Empty for a bank transfer.
    card: PaymentCard
    # Empty for a card.
    bank_account: BankAccount
    terms_accepted: bool
    shipping_method: ShippingMethod
    discount_code: str
    device_language: str


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    """Part of a body. Members with other names are ignored."""


class _User(_Body, frozen=True):
    name: _Line = ""
    contact: _Line = ""


class _Card(_Body, frozen=True):
    number: _Means = ""
    expiration_date: _Means = ""
    cvv: _Means = ""


class _Account(_Body, frozen=True):
    iban: _Means = ""


class _Item(_Body, frozen=True):
    name: _Title
    quantity: _Quantity


class _BillingAddress(_Body, frozen=True):
    street: _Line = ""
    city: _Line = ""
    state: _Line = ""
    zip: _Line = ""
    country: _Line = ""


class _Device(_Body, frozen=True):
    type: _Line = ""
    model: _Line = ""
    os: _Line = ""


class _Browser(_Body, frozen=True):
    name: _Line = ""
    version: _Line = ""


class _Checkout(_Body, frozen=True):
    user: _User = _User()
    credit_card: _Card = _Card()
    payment_method: Literal["card", "bankTransfer"] = "card"
    bank_account: _Account = _Account()
    items: Annotated[tuple[_Item, ...], msgspec.Meta(max_length=ITEMS_MAX)] = ()
    billing_address: _BillingAddress = _BillingAddress()
    shipping_method: ShippingMethod = "Standard"
    gift_wrapping: bool = False
    gift_message: _Text = ""
    terms_and_conditions_accepted: bool | msgspec.UnsetType = msgspec.UNSET
    # What the best-known page calls it.
    terms_accepted: bool = False
    user_comment: _Text = ""
    discount_code: _Line = ""
    notification_preferences: Annotated[tuple[_Line, ...], msgspec.Meta(max_length=20)] = ()
    device: _Device = _Device()
    browser: _Browser = _Browser()
    app_version: _Line = ""
    screen_resolution: _Line = ""
    referrer: _Line = ""
    device_language: _Line = ""


def parse_checkout(body: Mapping[str, Any]) -> CheckoutRequest:
    """The order in a decoded body without nulls. Raises RequestInvalid, whose one reason names the field."""
    checkout = _convert(body, _Checkout)
    method = PaymentMethod(checkout.payment_method)
    by_card = method is PaymentMethod.CARD
    terms = checkout.terms_and_conditions_accepted
    return CheckoutRequest(
        customer=Customer(checkout.user.name.strip(), checkout.user.contact.strip()),
        billing_address=Address(
            *(value.strip() for value in msgspec.structs.astuple(checkout.billing_address)),
        ),
        items=_merged(checkout.items),
        payment_method=method,
        card=PaymentCard(*msgspec.structs.astuple(checkout.credit_card)) if by_card else PaymentCard("", "", ""),
        bank_account=BankAccount("" if by_card else checkout.bank_account.iban.strip()),
        terms_accepted=checkout.terms_accepted if terms is msgspec.UNSET else terms,
        shipping_method=checkout.shipping_method,
        discount_code=checkout.discount_code.strip(),
        device_language=checkout.device_language.strip(),
    )


def _merged(items: tuple[_Item, ...]) -> tuple[OrderItem, ...]:
    quantities: dict[str, int] = {}
    for number, item in enumerate(items):
        title = item.name.strip()
        if not title:
            raise _invalid(f"/items/{number}/name", "should not be empty")
        quantities[title] = quantities.get(title, 0) + item.quantity
        if quantities[title] > QUANTITY_MAX:
            raise _invalid(f"/items/{number}/quantity", f"should come to at most {QUANTITY_MAX} copies of one title")
    return tuple(OrderItem(title, quantity) for title, quantity in quantities.items())


_PLACED = re.compile(r"(?P<what>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_TYPE = re.compile(r"`(int|float|str|bool|array|object)(?=[` ])`?")
_TYPES_IN_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}


def _convert(body: Mapping[str, Any], body_type: type[_T]) -> _T:
    try:
        return msgspec.convert(body, body_type)
    except msgspec.ValidationError as error:
        what, path = str(error), ""
        if placed := _PLACED.fullmatch(what):
            what, path = placed["what"], re.sub(r"\[(\d+)\]", r"/\1", placed["path"]).replace(".", "/")
        if missing := _MISSING.fullmatch(what):
            what, path = "should be there", f"{path}/{missing['name']}"
        elif what.startswith("Invalid enum value"):
            what = "is none of the values that are allowed"
        elif "matching regex" in what:
            what = "should not hold control characters"
        else:
            what = _TYPE.sub(lambda type_: _TYPES_IN_WORDS[type_[1]], what.replace("Expected", "should be", 1))
        # Not chained: what msgspec says may quote a value.
        raise _invalid(path, what) from None


def _invalid(pointer: str, what: str) -> RequestInvalid:
    where = pointer[1:].replace("/", ".") or "the body"
    return RequestInvalid(f"{where} {what}", reasons=(Reason("field_invalid", f"{where} {what}", pointer),))
