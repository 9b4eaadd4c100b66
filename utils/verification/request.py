"""What the trio is asked to verify: from the wire, within the limits of one order.

A request beyond the limits is refused here (InvalidArgument); what a customer can be told is left to the rules.
"""

from collections.abc import Sequence

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
)
from utils.pb import convert, order_pb2
from utils.rpc.errors import InvalidArgument


def customer(message: order_pb2.Customer) -> Customer:
    """Raises InvalidArgument."""
    _bounded("customer", message.name, message.contact)
    return convert.customer_from_proto(message)


def address(message: order_pb2.Address) -> Address:
    """Raises InvalidArgument."""
    _bounded("billing_address", message.street, message.city, message.state, message.zip, message.country)
    return convert.address_from_proto(message)


def card(message: order_pb2.PaymentCard) -> PaymentCard:
    """Raises InvalidArgument, which says nothing of the card."""
    _bounded("card", message.number, message.expiration_date, message.cvv)
    return convert.card_from_proto(message)


def bank_account(message: order_pb2.BankAccount) -> BankAccount:
    """Raises InvalidArgument, which says nothing of the account."""
    _bounded("bank_account", message.iban)
    return convert.bank_account_from_proto(message)


def items(messages: Sequence[order_pb2.OrderItem]) -> tuple[OrderItem, ...]:
    """Raises InvalidArgument."""
    if len(messages) > ITEMS_MAX:
        raise InvalidArgument(f"an order has at most {ITEMS_MAX} items, not {len(messages)}")
    titles([message.title for message in messages])
    if any(message.quantity > QUANTITY_MAX for message in messages):
        raise InvalidArgument(f"a quantity is at most {QUANTITY_MAX}")
    return tuple(convert.item_from_proto(message) for message in messages)


def titles(values: Sequence[str]) -> tuple[str, ...]:
    """Raises InvalidArgument."""
    if len(values) > ITEMS_MAX or any(len(title) > TITLE_LENGTH_MAX for title in values):
        raise InvalidArgument(f"at most {ITEMS_MAX} titles of at most {TITLE_LENGTH_MAX} characters")
    return tuple(values)


def _bounded(name: str, *texts: str) -> None:
    if any(len(text) > TEXT_LENGTH_MAX for text in texts):
        raise InvalidArgument(f"a text of {name} is longer than {TEXT_LENGTH_MAX} characters")
