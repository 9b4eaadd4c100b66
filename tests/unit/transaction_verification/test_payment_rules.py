"""Event C: cards, dates as customers type them, security codes and IBANs."""

from datetime import date

import pytest
from hypothesis import given, strategies as st

from transaction_verification.payment_rules import (
    bank_instrument,
    brand_of,
    card_instrument,
    check_bank_account,
    check_card,
)
from utils.domain.order import BankAccount, PaymentCard, PaymentInstrument, PaymentMethod

TODAY = date(2026, 6, 15)
VISA = "4111111111111111"


def card_reasons(number: str = VISA, expiry: str = "12/30", cvv: str = "123", today: date = TODAY) -> list[str]:
    return [reason.code for reason in check_card(PaymentCard(number, expiry, cvv), today)]


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4111111111111111", "visa"), ("4222222222222", "visa"), ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"), ("378282246310005", "amex"), ("30569309025904", "diners"),
        ("3530111333300000", "jcb"), ("6011111111111117", "discover"), ("6200000000000005", "unionpay"),
        ("6759649826438453", "maestro"), ("9792030000000000", ""),
    ],
)  # fmt: skip
def test_cards_of_every_brand_pass(number: str, brand: str) -> None:
    assert brand_of(number) == brand
    assert card_reasons(number, cvv="1234" if brand == "amex" else "123") == []


@pytest.mark.parametrize(
    "number", ["4111 1111 1111 1111", "4111-1111-1111-1111", " 4111 1111-11111111 ", "4111\u00a01111 11111111"]
)
def test_spaces_and_dashes_are_forgiven(number: str) -> None:
    assert card_reasons(number) == []
    assert card_instrument(PaymentCard(number, "", "")) == PaymentInstrument(PaymentMethod.CARD, "visa", "1111")


@pytest.mark.parametrize(
    "number",
    [
        "0000000000000000", "000000000000", "1234567890123456", "4111111111111112", "41111111111", "5" * 16,
        "4111x11111111111", "٤١١١١١١١١١١١١١١١", "４１１１１１１１１１１１１１１１", "4" * 200, "-",
        "4111.1111.1111.1111",
    ],
)  # fmt: skip
def test_what_is_no_card_number(number: str) -> None:
    assert card_reasons(number) == ["card_number_missing" if number == "-" else "card_number_invalid"]


@pytest.mark.parametrize("expiry", ["06/26", "6/26", "12/99", "07/2026", " 06 / 26 ", "06-26"])
def test_a_card_is_good_through_the_last_day_of_its_month(expiry: str) -> None:
    assert card_reasons(expiry=expiry) == []
    assert card_reasons(expiry="06/26", today=date(2026, 6, 30)) == []
    assert card_reasons(expiry="06/26", today=date(2026, 7, 1)) == ["card_expired"]


@pytest.mark.parametrize("expiry", ["05/26", "12/25", "01/00", "12/2020", "5/26"])
def test_an_expired_card_is_told(expiry: str) -> None:
    assert card_reasons(expiry=expiry) == ["card_expired"]


@pytest.mark.parametrize(
    "expiry",
    [
        "13/26",
        "00/30",
        "1230",
        "12/",
        "/30",
        "12/300",
        "12/1930",
        "30/12/2030",
        "December 2030",
        "2030-12",
        "１２/３０",
        "12/3０",
        "tomorrow",
    ],
)
def test_what_is_no_expiry_date(expiry: str) -> None:
    assert card_reasons(expiry=expiry) == ["card_expiry_invalid"]


@given(st.text(max_size=500))
def test_no_text_that_a_customer_types_crashes(text: str) -> None:
    list(check_card(PaymentCard(text, text, text), TODAY))
    list(check_bank_account(BankAccount(text)))
    card_instrument(PaymentCard(text, text, text))


@given(st.text("0123456789/- ", max_size=12), st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_no_date_crashes_on_any_day(text: str, today: date) -> None:
    list(check_card(PaymentCard(VISA, text, "123"), today))


@pytest.mark.parametrize(
    ("number", "cvv", "codes"),
    [
        (VISA, "12", ["card_cvv_invalid"]), (VISA, "1234", ["card_cvv_invalid"]), (VISA, "12a", ["card_cvv_invalid"]),
        (VISA, "１２３", ["card_cvv_invalid"]), (VISA, "", ["card_cvv_missing"]), (VISA, " 123 ", []),
        ("378282246310005", "123", ["card_cvv_invalid"]), ("378282246310005", "1234", []),
    ],
)  # fmt: skip
def test_security_codes(number: str, cvv: str, codes: list[str]) -> None:
    assert card_reasons(number, cvv=cvv) == codes


def test_everything_wrong_with_a_card_is_told_at_once_and_nothing_is_repeated() -> None:
    reasons = list(check_card(PaymentCard("4111111111111112", "01/20", "98765"), TODAY))
    assert [(reason.code, reason.field) for reason in reasons] == [
        ("card_number_invalid", "/creditCard/number"),
        ("card_expired", "/creditCard/expirationDate"),
        ("card_cvv_invalid", "/creditCard/cvv"),
    ]
    told = "".join(reason.message for reason in reasons)
    assert "4111" not in told
    assert "98765" not in told


@pytest.mark.parametrize("iban", ["EE38 2200 2210 2014 5685", "ee382200221020145685", "DE89-3704-0044-0532-0130-00"])
def test_ibans_pass(iban: str) -> None:
    assert list(check_bank_account(BankAccount(iban))) == []


@pytest.mark.parametrize(
    "iban",
    ["EE382200221020145686", "XX00", "DE89", "4111111111111111", "EE38220022102014568５", "ＥE382200221020145685"],
)
def test_what_is_no_iban(iban: str) -> None:
    [reason] = check_bank_account(BankAccount(iban))
    assert (reason.code, reason.field) == ("iban_invalid", "/bankAccount/iban")


def test_an_account_is_needed() -> None:
    [reason] = check_bank_account(BankAccount(" "))
    assert reason.code == "iban_missing"


def test_only_the_last_four_of_an_account_are_kept() -> None:
    instrument = bank_instrument(BankAccount("EE38 2200 2210 2014 5685"))
    assert instrument == PaymentInstrument(PaymentMethod.BANK_TRANSFER, "", "5685")
