"""What the two services take and refuse on the wire, beside the causal protocol."""

import asyncio
from typing import Any

import pytest

from tests.integration.trio.trio import CARD, Trio
from utils.pb import order_pb2
from utils.rpc.errors import InvalidArgument

LONG = "x" * 501
IBAN = order_pb2.BankAccount(iban="EE38 2200 2210 2014 5685")


def items(count: int, *, quantity: int = 1) -> list[order_pb2.OrderItem]:
    return [order_pb2.OrderItem(title=f"Book {number}", quantity=quantity) for number in range(count)]


async def test_a_bank_transfer_is_checked_by_its_iban(trio: Trio) -> None:
    fields: dict[str, Any] = {
        "payment_method": order_pb2.PAYMENT_METHOD_BANK_TRANSFER, "card": None, "bank_account": IBAN,
    }  # fmt: skip
    start = trio.start_message(deadline_s=30)
    verified, detected = await asyncio.gather(trio.verify(start, **fields), trio.detect(start, **fields))
    assert verified.instrument.method == order_pb2.PAYMENT_METHOD_BANK_TRANSFER
    assert verified.instrument.last_four == "5685"
    assert not detected.outcome.stopped


REFUSED_BY_BOTH: list[dict[str, Any]] = [
    {"items": items(101)},
    {"items": items(1, quantity=10_001)},
    {"items": [order_pb2.OrderItem(title="x" * 201, quantity=1)]},
    {"customer": order_pb2.Customer(name=LONG)},
    {"billing_address": order_pb2.Address(country=LONG)},
    {"card": order_pb2.PaymentCard(number=LONG)},
    {"payment_method": order_pb2.PAYMENT_METHOD_UNSPECIFIED},
    {"payment_method": order_pb2.PAYMENT_METHOD_BANK_TRANSFER, "bank_account": order_pb2.BankAccount(iban=LONG)},
]


@pytest.mark.parametrize("fields", REFUSED_BY_BOTH)
async def test_what_is_beyond_the_limits_is_refused_and_not_judged(trio: Trio, fields: dict[str, Any]) -> None:
    for call in (trio.verify, trio.detect):
        with pytest.raises(InvalidArgument):
            await call(trio.start_message(), **fields)


@pytest.mark.parametrize("fields", [{"card": CARD}, {"amount_cents": 10**12 + 1}, {"device_language": LONG}])
async def test_fraud_detection_refuses_a_security_code_and_what_is_out_of_bounds(
    trio: Trio, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument):
        await trio.detect(trio.start_message(), **fields)


async def test_too_many_unknown_titles_are_refused(trio: Trio) -> None:
    with pytest.raises(InvalidArgument):
        await trio.verify(trio.start_message(), unknown_titles=["x"] * 101)


async def test_the_same_card_and_customer_hundreds_of_times_raise_the_score_and_pass(trio: Trio) -> None:
    scores = []
    for _ in range(120):
        start = trio.start_message(deadline_s=30)
        detected, verified = await asyncio.gather(trio.detect(start), trio.verify(start))
        assert not detected.outcome.stopped
        assert not verified.outcome.stopped
        scores.append(detected.risk_score)
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0, 10)
    assert [signal.code for signal in detected.signals] == [
        "customer_velocity",
        "quick_repeat",
        "payment_velocity",
    ]
