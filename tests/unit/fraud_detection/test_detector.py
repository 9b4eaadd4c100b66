"""The rules with their memory: who orders often passes, who brings new cards does not."""

from typing import Any

import pytest

from fraud_detection.config import Config
from fraud_detection.detector import Detector, Instrument, OrderFacts
from fraud_detection.fingerprint import Fingerprints
from fraud_detection.rules import Assessment
from utils.config import ConfigError, from_environment
from utils.domain.order import Address, Customer, OrderItem

CARD = Instrument("card", "4111 1111 1111 1111")


def facts(number: str = CARD.number, **changes: Any) -> OrderFacts:
    usual: dict[str, Any] = {
        "customer": Customer("John Doe", "john@example.com"),
        "billing_address": Address("Narva mnt 18", "Tartu", "", "51009", "EE"),
        "items": (OrderItem("1984", 2),),
        "amount_cents": 2_598,
        "instrument": Instrument("card", number),
    }
    return OrderFacts(**(usual | changes))


def detector(**settings: str) -> Detector:
    return Detector(from_environment(Config, settings), Fingerprints("key"))


def rejected(assessment: Assessment) -> bool:
    return bool(assessment.user_reasons or assessment.payment_reasons)


def test_a_load_client_with_the_same_few_cards_and_customers_is_never_rejected() -> None:
    ours = detector()
    cards = ("4111111111111111", "5555555555554444", "378282246310005", "4242424242424242")
    for number in range(2_000):
        customer = Customer(f"User {number % 3}", f"user{number % 3}@example.com")
        order = facts(cards[number % 4], customer=customer, device_language="en-US")
        assert not rejected(ours.judge(order, number / 20))


def test_a_tester_of_stolen_cards_is_rejected_from_some_card_on() -> None:
    ours = detector()
    verdicts = [rejected(ours.judge(facts(f"4{number:015d}"), 60.0 * number)) for number in range(20)]
    assert verdicts[:6] == [False] * 6
    assert all(verdicts[8:])


def test_only_the_day_before_counts() -> None:
    ours = detector()
    assert not any(rejected(ours.judge(facts(f"4{number:015d}"), 43_201.0 * number)) for number in range(40))


def test_cards_and_addresses_are_the_same_however_they_are_written() -> None:
    ours = detector()
    written = ("4111-1111-1111-1111", "4111 1111 1111 1111", "4111111111111111")
    for street, number in zip(("Narva mnt 18", "narva mnt  18,", "NARVA MNT 18"), written, strict=True):
        assessment = ours.judge(facts(number, billing_address=Address(street, "Tartu", "", "51009", "EE")), 100.0)
        assert not {"many_cards", "many_cards_at_address"} & {signal.reason.code for signal in assessment.signals}


@pytest.mark.parametrize(
    ("instrument", "mismatch"),
    [
        (Instrument("iban", "DE89 3704 0044 0532 0130 00"), True),
        (Instrument("iban", "ee38 2200 2210 2014 5685"), False),
        (Instrument("card", "4111111111111111"), True),
        (Instrument("card", "4111 1199 9999 9999"), False),
        (Instrument("card", "5555555555554444"), False),
    ],
)
def test_a_card_is_of_a_country_where_somebody_has_said_so(instrument: Instrument, mismatch: bool) -> None:
    ours = detector(FRAUD_CARD_COUNTRIES="4111=US,411111=EE,41111111=DE")
    signals = ours.judge(facts(instrument=instrument), 0.0).signals
    assert ("payment_country_mismatch" in {signal.reason.code for signal in signals}) == mismatch


@pytest.mark.parametrize("value", ["4111", "4111=us", "x=EE", "123456789=EE"])
def test_a_wrong_list_of_issuers_is_named(value: str) -> None:
    with pytest.raises(ConfigError, match="FRAUD_CARD_COUNTRIES"):
        detector(FRAUD_CARD_COUNTRIES=value)


def test_no_card_shows_in_any_repr() -> None:
    assert "4111" not in repr(facts())
