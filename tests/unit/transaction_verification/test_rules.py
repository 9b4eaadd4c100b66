"""Events A and B: each thing that can be wrong, in a table; what people really write passes."""

import pytest
from hypothesis import given, strategies as st

from transaction_verification.rules import check_items, check_user, is_contact
from utils.domain.order import Address, Customer, OrderItem

CUSTOMER = Customer("Mari Maasikas", "mari@example.com")
ADDRESS = Address("Narva mnt 18", "Tartu", "", "51009", "Estonia")


def item_reasons(items: list[OrderItem], unknown: list[str] | None = None) -> list[tuple[str, str]]:
    return [(reason.code, reason.field) for reason in check_items(items, unknown or [])]


def user_reasons(
    customer: Customer = CUSTOMER, address: Address = ADDRESS, *, terms: bool = True
) -> list[tuple[str, str]]:
    return [(reason.code, reason.field) for reason in check_user(customer, address, terms_accepted=terms)]


def test_an_order_of_known_books_passes() -> None:
    assert item_reasons([OrderItem("1984", 1), OrderItem("Book A", 10_000)]) == []


def test_an_order_needs_items() -> None:
    assert item_reasons([]) == [("items_missing", "/items")]


def test_every_wrong_item_is_told() -> None:
    items = [OrderItem("1984", 1), OrderItem("Nonesuch", 1), OrderItem(" ", 2), OrderItem("Book A", 0)]
    assert item_reasons(items, ["Nonesuch"]) == [
        ("book_unknown", "/items/1/name"),
        ("title_missing", "/items/2/name"),
        ("quantity_invalid", "/items/3/quantity"),
    ]


def test_the_customer_reads_which_book_is_unknown() -> None:
    [reason] = check_items([OrderItem("Nonesuch", 1)], ["Nonesuch"])
    assert "Nonesuch" in reason.message


def test_a_complete_user_passes() -> None:
    assert user_reasons() == []


def test_everything_missing_is_told_at_once() -> None:
    assert user_reasons(Customer(" ", ""), Address("", " ", "", "", ""), terms=False) == [
        ("name_missing", "/user/name"),
        ("contact_missing", "/user/contact"),
        ("street_missing", "/billingAddress/street"),
        ("city_missing", "/billingAddress/city"),
        ("country_missing", "/billingAddress/country"),
        ("zip_missing", "/billingAddress/zip"),
        ("terms_not_accepted", "/termsAndConditionsAccepted"),
    ]


@pytest.mark.parametrize(
    "contact",
    [
        "john.doe@example.com", "a@b.co", "first+tag@sub.domain.example.org", "olga@mail.ru", "x@suspicious.ru",
        "jüri@näide.ee", "+372 5555 5555", "(555) 123-4567", "555123", "8.800.555-35-35",
    ],
)  # fmt: skip
def test_plausible_contacts_pass(contact: str) -> None:
    assert is_contact(contact)


@pytest.mark.parametrize(
    "contact",
    [
        "john", "john@", "@example.com", "john@example", "john@.com", "john@example..com", "john@exa mple.com",
        "a@b@c.com", "john@example.c", "12345", "+", "------", "1234567890123456", "+372 5555 5555 ext",
        "٣٧٢٥٥٥٥٥٥٥٥", "()" * 10,
    ],
)  # fmt: skip
def test_implausible_contacts_do_not(contact: str) -> None:
    assert not is_contact(contact)
    assert user_reasons(Customer("Mari", contact)) == [("contact_invalid", "/user/contact")]


@given(st.text(max_size=500))
def test_no_contact_crashes(contact: str) -> None:
    is_contact(contact)


@pytest.mark.parametrize(
    ("postal_code", "country"),
    [
        ("62701", "USA"), ("62701-1234", "us"), ("12345", "United States"), ("51009", "Estonia"), ("EE-51009", "EE"),
        ("sw1a 1aa", "UK"), ("M5V 3L9", "Canada"), ("1012 AB", "Netherlands"), ("00100", " Finland "),
        ("LV-1010", "Latvia"), ("whatever 1", "Atlantis"), ("", "Ireland"), ("999077", "HK"),
    ],
)  # fmt: skip
def test_postal_codes_of_their_country_pass(postal_code: str, country: str) -> None:
    assert user_reasons(address=Address("1 High St", "Town", "", postal_code, country)) == []


@pytest.mark.parametrize(
    ("postal_code", "country", "code"),
    [
        ("1234", "USA", "zip_invalid"), ("ABCDE", "US", "zip_invalid"), ("１２３４５", "US", "zip_invalid"),
        ("5100", "Estonia", "zip_invalid"), ("12345", "UK", "zip_invalid"), ("12345\n", "DE", ""),
        (" ", "DE", "zip_missing"), ("", "Atlantis", "zip_missing"),
    ],
)  # fmt: skip
def test_postal_codes_that_cannot_be(postal_code: str, country: str, code: str) -> None:
    reasons = user_reasons(address=Address("1 High St", "Town", "", postal_code, country))
    assert reasons == ([(code, "/billingAddress/zip")] if code else [])
