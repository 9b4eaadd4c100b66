"""The order in its forms: the words that every service shares.

All are immutable msgspec structs, so that they can also be stored: what is written to a log or a disk is one of these,
never a protobuf message, which belongs to the wire alone.
"""

import enum
import re
from typing import Final

import msgspec

# An order id: 32 lower-case hexadecimal digits.
ORDER_ID: Final = re.compile(r"[0-9a-f]{32}")

# Limits of one order; a request beyond them is refused (INVALID_ARGUMENT / 400), not rejected.
ITEMS_MAX: Final = 100
QUANTITY_MAX: Final = 10_000
TITLE_LENGTH_MAX: Final = 200
TEXT_LENGTH_MAX: Final = 500
# An order is never rejected for more reasons than this.
REASONS_MAX: Final = 50


class PaymentMethod(enum.StrEnum):
    CARD = "card"
    BANK_TRANSFER = "bankTransfer"


class OrderItem(msgspec.Struct, frozen=True):
    title: str
    quantity: int


class PricedItem(msgspec.Struct, frozen=True):
    """An item with the price at which the order was accepted."""

    title: str
    quantity: int
    unit_price_cents: int


class Customer(msgspec.Struct, frozen=True):
    name: str
    contact: str


class Address(msgspec.Struct, frozen=True):
    street: str
    city: str
    state: str
    zip: str
    country: str


class PaymentCard(msgspec.Struct, frozen=True):
    """Never logged and never stored: even its repr keeps silent."""

    number: str
    expiration_date: str
    cvv: str

    def __repr__(self) -> str:
        return "PaymentCard(...)"


class BankAccount(msgspec.Struct, frozen=True):
    """Never logged and never stored: even its repr keeps silent."""

    iban: str

    def __repr__(self) -> str:
        return "BankAccount(...)"


class PaymentInstrument(msgspec.Struct, frozen=True):
    """What is left of a card or an account once verification is over."""

    method: PaymentMethod
    brand: str
    last_four: str


class Book(msgspec.Struct, frozen=True):
    book_id: str
    title: str
    author: str


class Reason(msgspec.Struct, frozen=True):
    """Why an order was rejected, in a customer's words; `field` is a JSON pointer (RFC 6901) or empty."""

    code: str
    message: str
    field: str = ""


class QueuedOrder(msgspec.Struct, frozen=True):
    """An accepted order, frozen: what was priced and verified is what is executed."""

    order_id: str
    items: tuple[PricedItem, ...]
    shipping_cents: int
    amount_cents: int
    instrument: PaymentInstrument
    suggested_books: tuple[Book, ...] = ()
    risk_score: int = 0
    discount_code: str = ""
    clock: dict[str, int] = {}
    accepted_at_ms: int = 0
    customer_hash: str = ""

    @property
    def quantity(self) -> int:
        """The order's priority: how many books it is for."""
        return sum(item.quantity for item in self.items)
