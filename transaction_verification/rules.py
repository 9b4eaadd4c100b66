"""Events A (items) and B (user data): what is wrong with an order, in its customer's words. Pure."""

import re
from collections.abc import Iterator, Sequence

from transaction_verification.postal_codes import fits_country, has_postal_codes
from utils.domain.order import Address, Customer, OrderItem, Reason

# Plausible is enough: only a message to it would prove that a contact exists.
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*\.[^@\s.]{2,}")
_PHONE = re.compile(r"\+?[0-9 ().\-/]{6,30}")
_PHONE_DIGITS = range(6, 16)  # E.164 allows 15


def check_items(items: Sequence[OrderItem], unknown_titles: Sequence[str]) -> Iterator[Reason]:
    """Event A."""
    if not items:
        yield Reason("items_missing", "Your order has no books in it.", "/items")
    unknown = frozenset(unknown_titles)
    for position, item in enumerate(items):
        field = f"/items/{position}"
        if not item.title.strip():
            yield Reason("title_missing", "One of your books has no title.", f"{field}/name")
        elif item.title in unknown:
            yield Reason("book_unknown", f"We do not sell a book called “{item.title}”.", f"{field}/name")
        if item.quantity < 1:
            yield Reason("quantity_invalid", "Order at least one copy of each book.", f"{field}/quantity")


def check_user(customer: Customer, billing_address: Address, *, terms_accepted: bool) -> Iterator[Reason]:
    """Event B."""
    if not customer.name.strip():
        yield Reason("name_missing", "Tell us your name.", "/user/name")
    contact = customer.contact.strip()
    if not contact:
        yield Reason("contact_missing", "Tell us your email address or phone number.", "/user/contact")
    elif not is_contact(contact):
        yield Reason("contact_invalid", "This is no email address or phone number.", "/user/contact")
    yield from _check_address(billing_address)
    if not terms_accepted:
        yield Reason(
            "terms_not_accepted", "Accept the terms and conditions to order.", "/termsAndConditionsAccepted"
        )  # fmt: skip


def is_contact(text: str) -> bool:
    """Whether this may be an email address or a phone number."""
    if _EMAIL.fullmatch(text):
        return True
    return bool(_PHONE.fullmatch(text)) and sum(character.isdigit() for character in text) in _PHONE_DIGITS


def _check_address(address: Address) -> Iterator[Reason]:
    # A state is no part of an address in most countries.
    for name, value, words in (
        ("street", address.street, "street"),
        ("city", address.city, "city"),
        ("country", address.country, "country"),
    ):
        if not value.strip():
            yield Reason(f"{name}_missing", f"Your billing address has no {words}.", f"/billingAddress/{name}")
    if not address.zip.strip():
        if has_postal_codes(address.country):
            yield Reason("zip_missing", "Your billing address has no postal code.", "/billingAddress/zip")
    elif not fits_country(address.zip, address.country):
        yield Reason(
            "zip_invalid", f"This is not how postal codes in {address.country.strip()} look.", "/billingAddress/zip"
        )
