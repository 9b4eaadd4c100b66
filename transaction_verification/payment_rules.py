"""Event C: whether a card or a bank account can be one, as far as its form tells. Pure; no message repeats a number."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from stdnum import iban, luhn

from utils.domain.order import BankAccount, PaymentCard, PaymentInstrument, PaymentMethod, Reason

# Only ASCII digits are digits of a card: int() and \d would take those of every script.
_CARD_NUMBER = re.compile(r"[0-9]{12,19}")
_EXPIRY = re.compile(r"(0?[1-9]|1[0-2])\s*[/-]\s*(?:20)?([0-9]{2})")
_SEPARATORS = re.compile(r"[\s-]+")

# ISO/IEC 7812 ranges that a shop meets; the first that fits names the brand.
_BRANDS: Final = tuple(
    (brand, re.compile(form))
    for brand, form in (
        ("visa", r"4([0-9]{12}|[0-9]{15}|[0-9]{18})"),
        ("mastercard", r"(5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"),
        ("amex", r"3[47][0-9]{13}"),
        ("diners", r"3(0[0-5]|[689][0-9])[0-9]{11}"),
        ("jcb", r"35(2[89]|[3-8][0-9])[0-9]{12}"),
        ("discover", r"6(011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}"),
        ("unionpay", r"62[0-9]{14,17}"),
        ("maestro", r"(50|5[6-8]|6[0-9])[0-9]{10,17}"),
    )
)

_NUMBER_FIELD = "/creditCard/number"
_EXPIRY_FIELD = "/creditCard/expirationDate"
_CVV_FIELD = "/creditCard/cvv"
_IBAN_FIELD = "/bankAccount/iban"


def check_card(card: PaymentCard, today: date) -> Iterator[Reason]:
    """What speaks against the card on the day `today`."""
    number = compact(card.number)
    if not number:
        yield Reason("card_number_missing", "Tell us the number of your card.", _NUMBER_FIELD)
    elif not is_card_number(number):
        yield Reason("card_number_invalid", "This is not a valid card number. Please check its digits.", _NUMBER_FIELD)
    yield from _check_expiry(card.expiration_date.strip(), today)
    yield from _check_cvv(card.cvv.strip(), brand_of(number))


def check_bank_account(account: BankAccount) -> Iterator[Reason]:
    """What speaks against the account."""
    number = compact(account.iban)
    if not number:
        yield Reason("iban_missing", "Tell us the IBAN of your bank account.", _IBAN_FIELD)
    elif not number.isascii() or not number.isalnum() or not iban.is_valid(number):
        yield Reason("iban_invalid", "This is not a valid IBAN. Please check it.", _IBAN_FIELD)


def is_card_number(number: str) -> bool:
    """Whether the digits can be a card's. The check digit is also right for all zeros: equal digits are nobody's."""
    return _CARD_NUMBER.fullmatch(number) is not None and len(set(number)) > 1 and luhn.is_valid(number)


def brand_of(number: str) -> str:
    """ "visa", "mastercard", ...; empty for a brand that is not known."""
    return next((brand for brand, form in _BRANDS if form.fullmatch(number)), "")


def card_instrument(card: PaymentCard) -> PaymentInstrument:
    """All that is kept of a card."""
    number = compact(card.number)
    return PaymentInstrument(PaymentMethod.CARD, brand_of(number), number[-4:])


def bank_instrument(account: BankAccount) -> PaymentInstrument:
    """All that is kept of an account."""
    return PaymentInstrument(PaymentMethod.BANK_TRANSFER, "", compact(account.iban)[-4:])


def compact(number: str) -> str:
    """Without the spaces and dashes that people type between groups of digits."""
    return _SEPARATORS.sub("", number)


def _check_expiry(text: str, today: date) -> Iterator[Reason]:
    if not text:
        yield Reason("card_expiry_missing", "Tell us when your card expires.", _EXPIRY_FIELD)
        return
    match = _EXPIRY.fullmatch(text)
    if match is None:
        yield Reason("card_expiry_invalid", "Write the expiry date as MM/YY, as on the card.", _EXPIRY_FIELD)
        return
    # A card is good through the last day of its month; two-digit years are of this century.
    if (2000 + int(match[2]), int(match[1])) < (today.year, today.month):
        yield Reason("card_expired", "This card has expired.", _EXPIRY_FIELD)


def _check_cvv(text: str, brand: str) -> Iterator[Reason]:
    digits = 4 if brand == "amex" else 3
    if not text:
        yield Reason("card_cvv_missing", "Tell us the security code of your card.", _CVV_FIELD)
    elif re.fullmatch(rf"[0-9]{{{digits}}}", text) is None:
        yield Reason("card_cvv_invalid", f"The security code of this card has {digits} digits.", _CVV_FIELD)
