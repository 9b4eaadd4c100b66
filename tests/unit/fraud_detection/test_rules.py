"""The risk score: what rejects, what only raises it, and what is nothing to suspect."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from fraud_detection.rules import SOFT_SCORE_MAX, Assessment, Suspect, assess
from utils.domain.order import Address, Customer, OrderItem

GOOD: dict[str, Any] = {
    "customer": Customer("Mari Maasikas", "mari@example.com"),
    "billing_address": Address("Narva mnt 18", "Tartu", "", "51009", "EE"),
    "items": (OrderItem("1984", 1),),
    "amount_cents": 1_299,
    "device_language": "et-EE",
    "account_country": "",
    "customer_orders": 1,
    "instrument_orders": 1,
}


def assessed(reject_score: int = 80, **changes: Any) -> Assessment:
    return assess(Suspect(**(GOOD | changes)), reject_score=reject_score, copies_max=100)


def contact(text: str) -> Customer:
    return Customer("Mari", text)


def test_a_usual_order_has_no_risk() -> None:
    assessment = assessed()
    assert assessment.score == 0
    assert assessment.signals == ()
    assert assessment.user_reasons == assessment.payment_reasons == ()


@pytest.mark.parametrize(
    "address",
    [
        "x@suspicious.ru", "X@Suspicious.RU", "x@mail.suspicious.ru", "x@shop.test", "x@a.b.test.", "x@mailinator.com",
        "x@eu.mailinator.com", "x@host.invalid",
    ],
)  # fmt: skip
def test_known_domains_are_fraud(address: str) -> None:
    assessment = assessed(customer=contact(address))
    assert assessment.score == 100
    [reason] = assessment.user_reasons
    assert "fraud" in reason.message
    assert reason.field == "/user/contact"
    assert assessment.payment_reasons == ()


@pytest.mark.parametrize(
    "address",
    [
        "olga@mail.ru",
        "x@yandex.ru",
        "x@notsuspicious.ru",
        "x@suspicious.ru.com",
        "x@test.com",
        "test@example.com",
        "+372 555 5555",
        "suspicious.ru",
        "",
    ],
)
def test_other_contacts_are_nothing_to_suspect(address: str) -> None:
    assert assessed(customer=contact(address)).score == 0


@pytest.mark.parametrize(
    ("items", "rejected"),
    [
        ([OrderItem("A", 20)], False),
        ([OrderItem("A", 99)], False),
        ([OrderItem("A", 100)], True),
        ([OrderItem("A", 60), OrderItem("A", 40)], True),
        ([OrderItem(f"Book {number}", 90) for number in range(10)], False),
    ],
)
def test_a_hundred_copies_of_one_title_are_fraud(items: list[OrderItem], rejected: bool) -> None:
    assert bool(assessed(items=items).user_reasons) == rejected


def test_twenty_copies_raise_nothing() -> None:
    assert assessed(items=[OrderItem("A", 20)]).score == 0


@pytest.mark.parametrize(("orders", "score"), [(1, 0), (10, 0), (11, 10), (100, 10), (101, 20), (10**6, 20)])
def test_velocity_raises_the_score_and_does_not_reject(orders: int, score: int) -> None:
    for count in ("customer_orders", "instrument_orders"):
        assessment = assessed(**{count: orders})
        assert assessment.score == score
        assert not assessment.user_reasons
        assert not assessment.payment_reasons


@pytest.mark.parametrize(
    ("changes", "code", "score"),
    [
        ({"amount_cents": 100_000}, "high_amount", 15),
        ({"amount_cents": 500_000}, "high_amount", 30),
        ({"items": [OrderItem("A", 25), OrderItem("B", 25)]}, "many_books", 10),
        ({"customer": Customer("Mari 2", "m@example.com")}, "odd_name", 10),
        ({"device_language": "en-US"}, "region_mismatch", 5),
        ({"device_language": "zh-Hans-CN"}, "region_mismatch", 5),
        ({"account_country": "DE"}, "account_country_mismatch", 10),
    ],
)
def test_each_oddity_has_its_weight(changes: dict[str, Any], code: str, score: int) -> None:
    assessment = assessed(**changes)
    assert [signal.reason.code for signal in assessment.signals] == [code]
    assert assessment.score == score


@pytest.mark.parametrize("language", ["", "en", "et-EE", "-", "en-", "es-419", "x" * 50])
def test_a_language_without_another_country_says_nothing(language: str) -> None:
    assert assessed(device_language=language).score == 0


def test_a_countrys_name_is_not_compared_with_a_code() -> None:
    address = Address("Narva mnt 18", "Tartu", "", "51009", "Estonia")
    assert assessed(billing_address=address, device_language="en-US", account_country="DE").score == 0


WORST_ODDITIES: dict[str, Any] = {
    "customer": Customer("M4ri", "m@example.com"),
    "items": [OrderItem("A", 99), OrderItem("B", 99)],
    "amount_cents": 10**9,
    "device_language": "en-US",
    "account_country": "DE",
    "customer_orders": 10**6,
    "instrument_orders": 10**6,
}


def test_no_heap_of_oddities_rejects_by_default() -> None:
    assessment = assessed(**WORST_ODDITIES)
    assert len(assessment.signals) == 7
    assert assessment.score == SOFT_SCORE_MAX < 80
    assert not assessment.user_reasons
    assert not assessment.payment_reasons


def test_an_operators_threshold_rejects_the_user_or_only_with_the_card() -> None:
    assert assessed(25, customer_orders=200, device_language="en-US").user_reasons
    with_card = assessed(25, customer_orders=200, instrument_orders=200)
    assert not with_card.user_reasons
    assert [reason.code for reason in with_card.payment_reasons] == [
        "fraud_customer_velocity",
        "fraud_payment_velocity",
    ]
    assert all("fraud" in reason.message for reason in with_card.payment_reasons)


def test_what_the_user_alone_made_suspect_is_not_told_twice() -> None:
    assert not assessed(customer=contact("x@shop.test"), instrument_orders=200).payment_reasons


@given(
    st.builds(
        Suspect,
        customer=st.builds(Customer, st.text(max_size=50), st.text(max_size=50)),
        billing_address=st.builds(Address, *[st.text(max_size=10)] * 5),
        items=st.lists(st.builds(OrderItem, st.sampled_from("AB"), st.integers(0, 10_000)), max_size=5),
        amount_cents=st.integers(0, 10**12),
        device_language=st.text(max_size=20),
        account_country=st.text(max_size=2),
        customer_orders=st.integers(0, 1000),
        instrument_orders=st.integers(0, 1000),
    ),
    st.integers(1, 100),
)
def test_reasons_are_given_exactly_from_the_threshold_on(suspect: Suspect, reject_score: int) -> None:
    assessment = assess(suspect, reject_score=reject_score, copies_max=100)
    assert 0 <= assessment.score <= 100
    rejected = bool(assessment.user_reasons or assessment.payment_reasons)
    assert rejected == (assessment.score >= reject_score)
