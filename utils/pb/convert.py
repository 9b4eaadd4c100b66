"""Between the messages of the wire and the words of the domain."""

from collections.abc import Sequence

import msgspec

from utils.clocks.story import Event, PackedClock, Story, pack_clock, unpack, unpack_clock
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import (
    ORDER_ID,
    Address,
    BankAccount,
    Book,
    Customer,
    OrderItem,
    PaymentCard,
    PaymentInstrument,
    PaymentMethod,
    PricedItem,
    QueuedOrder,
    Reason,
)
from utils.pb import order_pb2, order_queue_pb2, vector_clock_pb2
from utils.rpc.errors import InvalidArgument

_METHODS_TO_PROTO = {
    PaymentMethod.CARD: order_pb2.PAYMENT_METHOD_CARD,
    PaymentMethod.BANK_TRANSFER: order_pb2.PAYMENT_METHOD_BANK_TRANSFER,
}
_METHODS_FROM_PROTO = {number: method for method, number in _METHODS_TO_PROTO.items()}
# Of a clock and of a story: far above what an order comes by, and a count that fits everywhere.
_CLOCK_ENTRIES_MAX = 16
_EVENTS_MAX = 64
_EVENT_BYTES_MAX = 1_024
_NAME_LENGTH_MAX = 100
_COUNT_MAX = 2**63 - 1


def order_id_from_proto(order_id: str) -> str:
    """Raises InvalidArgument."""
    if not ORDER_ID.fullmatch(order_id):
        raise InvalidArgument("order_id is not 32 lower-case hexadecimal digits")
    return order_id


def payment_method_to_proto(method: PaymentMethod) -> order_pb2.PaymentMethod.ValueType:
    return _METHODS_TO_PROTO[method]


def payment_method_from_proto(number: order_pb2.PaymentMethod.ValueType) -> PaymentMethod:
    """Raises InvalidArgument for an unspecified or unknown method."""
    try:
        return _METHODS_FROM_PROTO[number]
    except KeyError:
        raise InvalidArgument(f"payment_method {number} is not known") from None


def clock_to_proto(clock: dict[str, int]) -> vector_clock_pb2.VectorClock:
    return vector_clock_pb2.VectorClock(entries=clock)


def clock_from_proto(message: vector_clock_pb2.VectorClock) -> dict[str, int]:
    return dict(message.entries)


def packed_clock_to_proto(clock: PackedClock) -> vector_clock_pb2.VectorClock | None:
    return clock_to_proto(unpack_clock(clock).entries) if clock else None


def packed_clock_from_proto(message: vector_clock_pb2.VectorClock) -> PackedClock:
    """Raises InvalidArgument for more than an order comes by."""
    return pack_clock(_bounded_clock(message))


def story_to_proto(story: Story) -> list[vector_clock_pb2.StoryEvent]:
    return [
        vector_clock_pb2.StoryEvent(
            host=event.host,
            name=event.name,
            clock=clock_to_proto(event.clock.entries),
            epoch=event.epoch,
            number=event.number,
        )
        for event in map(unpack, story)
    ]


def story_from_proto(messages: Sequence[vector_clock_pb2.StoryEvent]) -> tuple[Event, ...]:
    """Raises InvalidArgument, likewise."""
    return tuple(
        Event(message.host, message.name, _bounded_clock(message.clock), message.epoch, message.number)
        for message in messages
    )


def packed_story_from_proto(packed: Sequence[bytes]) -> Story:
    """Raises InvalidArgument for what is no story, or more than an order comes by."""
    if len(packed) > _EVENTS_MAX or any(len(data) > _EVENT_BYTES_MAX for data in packed):
        raise InvalidArgument(f"a story has at most {_EVENTS_MAX} events of at most {_EVENT_BYTES_MAX} bytes")
    try:
        events = [unpack(data) for data in packed]
    except (msgspec.DecodeError, ValueError, IndexError):
        raise InvalidArgument("a story holds what is no event") from None
    if any(not event.name.isprintable() or not 1 <= event.clock[event.host] <= _COUNT_MAX for event in events):
        raise InvalidArgument("an event has a printable name, and its clock counts it")
    return tuple(packed)


def _bounded_clock(message: vector_clock_pb2.VectorClock) -> VectorClock:
    entries = clock_from_proto(message)
    if len(entries) > _CLOCK_ENTRIES_MAX or any(
        len(host) > _NAME_LENGTH_MAX or count > _COUNT_MAX for host, count in entries.items()
    ):
        raise InvalidArgument(f"a clock has at most {_CLOCK_ENTRIES_MAX} entries, each within bounds")
    return VectorClock(entries)


def item_to_proto(item: OrderItem) -> order_pb2.OrderItem:
    return order_pb2.OrderItem(title=item.title, quantity=item.quantity)


def item_from_proto(message: order_pb2.OrderItem) -> OrderItem:
    return OrderItem(message.title, message.quantity)


def priced_item_to_proto(item: PricedItem) -> order_pb2.PricedItem:
    return order_pb2.PricedItem(title=item.title, quantity=item.quantity, unit_price_cents=item.unit_price_cents)


def priced_item_from_proto(message: order_pb2.PricedItem) -> PricedItem:
    return PricedItem(message.title, message.quantity, message.unit_price_cents)


def customer_to_proto(customer: Customer) -> order_pb2.Customer:
    return order_pb2.Customer(name=customer.name, contact=customer.contact)


def customer_from_proto(message: order_pb2.Customer) -> Customer:
    return Customer(message.name, message.contact)


def address_to_proto(address: Address) -> order_pb2.Address:
    return order_pb2.Address(
        street=address.street, city=address.city, state=address.state, zip=address.zip, country=address.country
    )


def address_from_proto(message: order_pb2.Address) -> Address:
    return Address(message.street, message.city, message.state, message.zip, message.country)


def card_to_proto(card: PaymentCard, *, with_cvv: bool) -> order_pb2.PaymentCard:
    return order_pb2.PaymentCard(
        number=card.number, expiration_date=card.expiration_date, cvv=card.cvv if with_cvv else ""
    )


def card_from_proto(message: order_pb2.PaymentCard) -> PaymentCard:
    return PaymentCard(message.number, message.expiration_date, message.cvv)


def bank_account_to_proto(account: BankAccount) -> order_pb2.BankAccount:
    return order_pb2.BankAccount(iban=account.iban)


def bank_account_from_proto(message: order_pb2.BankAccount) -> BankAccount:
    return BankAccount(message.iban)


def instrument_to_proto(instrument: PaymentInstrument) -> order_pb2.PaymentInstrument:
    return order_pb2.PaymentInstrument(
        method=payment_method_to_proto(instrument.method), brand=instrument.brand, last_four=instrument.last_four
    )


def instrument_from_proto(message: order_pb2.PaymentInstrument) -> PaymentInstrument:
    return PaymentInstrument(payment_method_from_proto(message.method), message.brand, message.last_four)


def book_to_proto(book: Book) -> order_pb2.Book:
    return order_pb2.Book(book_id=book.book_id, title=book.title, author=book.author)


def book_from_proto(message: order_pb2.Book) -> Book:
    return Book(message.book_id, message.title, message.author)


def reason_to_proto(reason: Reason) -> order_pb2.Reason:
    return order_pb2.Reason(code=reason.code, message=reason.message, field=reason.field)


def reason_from_proto(message: order_pb2.Reason) -> Reason:
    return Reason(message.code, message.message, message.field)


def queued_order_to_proto(order: QueuedOrder) -> order_queue_pb2.QueuedOrder:
    return order_queue_pb2.QueuedOrder(
        order_id=order.order_id,
        items=[priced_item_to_proto(item) for item in order.items],
        shipping_cents=order.shipping_cents,
        amount_cents=order.amount_cents,
        instrument=instrument_to_proto(order.instrument),
        suggested_books=[book_to_proto(book) for book in order.suggested_books],
        risk_score=order.risk_score,
        discount_code=order.discount_code,
        clock=clock_to_proto(order.clock),
        accepted_at_ms=order.accepted_at_ms,
        customer_hash=order.customer_hash,
    )


def queued_order_from_proto(message: order_queue_pb2.QueuedOrder) -> QueuedOrder:
    """Raises InvalidArgument where the payment's method is not known."""
    return QueuedOrder(
        order_id=message.order_id,
        items=tuple(priced_item_from_proto(item) for item in message.items),
        shipping_cents=message.shipping_cents,
        amount_cents=message.amount_cents,
        instrument=instrument_from_proto(message.instrument),
        suggested_books=tuple(book_from_proto(book) for book in message.suggested_books),
        risk_score=message.risk_score,
        discount_code=message.discount_code,
        clock=clock_from_proto(message.clock),
        accepted_at_ms=message.accepted_at_ms,
        customer_hash=message.customer_hash,
    )
