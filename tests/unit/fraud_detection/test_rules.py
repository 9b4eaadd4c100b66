"""The risk score: what rejects, what only raises it, and what is nothing to suspect."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from fraud_detection.rules import CAPS, DECISIVE, Assessment, Kind, Signal, Suspect, Thresholds, assess
from utils.domain.order import Address, Customer, OrderItem, Reason

GOOD: dict[str, Any] = {
    "customer": Customer("Mari Maasikas", "mari@example.com"),
    "billing_address": Address("Narva mnt 18", "Tartu", "", "51009", "EE"),
    "items": (OrderItem("1984", 1),),
    "amount_cents": 1_299,
    "device_language": "et-EE",
    "instrument_country": "",
    "customer_orders": 1,
    "instrument_orders": 1,
    "interval_s": None,
    "customer_new_instruments": 1,
    "address_new_instruments": 1,
}


def assessed(reject_score: int = 80, **changes: Any) -> Assessment:
    return assess(Suspect(**(GOOD | changes)), Thresholds(reject_score, 60, copies_max=100))


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
    assessment = assessed(customer=contact(address))
    # At most that it is not the customer's name.
    assert {signal.reason.code for signal in assessment.signals} <= {"unlike_name"}
    assert not assessment.user_reasons


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


@pytest.mark.parametrize(("orders", "score"), [(1, 0), (10, 0), (11, 5), (100, 5), (101, 10), (10**6, 10)])
def test_velocity_raises_the_score_and_does_not_reject(orders: int, score: int) -> None:
    for count in ("customer_orders", "instrument_orders"):
        assessment = assessed(**{count: orders})
        assert assessment.score == score
        assert not assessment.user_reasons
        assert not assessment.payment_reasons


def test_all_velocity_together_is_capped() -> None:
    assert assessed(customer_orders=10**6, instrument_orders=10**6, interval_s=0.0).score == CAPS[Kind.PACE]


@pytest.mark.parametrize(
    ("changes", "code", "score"),
    [
        ({"amount_cents": 40_000}, "high_amount", 30),
        ({"amount_cents": 300_000}, "high_amount", 35),
        ({"items": [OrderItem("A", 21)]}, "many_copies", 10),
        ({"items": [OrderItem(title, 10) for title in "ABCDE"]}, "many_books", 5),
        ({"customer": Customer("Mari 2", "mari@example.com")}, "odd_name", 10),
        ({"customer": Customer("Mari Maasikas", "kassike@example.com")}, "unlike_name", 10),
        ({"device_language": "en-US"}, "region_mismatch", 10),
        ({"device_language": "zh-Hans-CN"}, "region_mismatch", 10),
        ({"instrument_country": "DE"}, "payment_country_mismatch", 35),
        ({"interval_s": 1.0}, "quick_repeat", 5),
        ({"customer_new_instruments": 5}, "many_cards", 40),
        ({"customer_new_instruments": 9}, "many_cards", 65),
        ({"address_new_instruments": 4}, "many_cards_at_address", 10),
        ({"address_new_instruments": 7}, "many_cards_at_address", 20),
        ({"address_new_instruments": 13}, "many_cards_at_address", 30),
    ],
)
def test_each_oddity_has_its_weight_and_rejects_nobody(changes: dict[str, Any], code: str, score: int) -> None:
    assessment = assessed(**changes)
    assert [signal.reason.code for signal in assessment.signals] == [code]
    assert assessment.score == score
    assert not assessment.user_reasons
    assert not assessment.payment_reasons


def test_a_random_address_is_also_unlike_the_name_and_no_more_than_that() -> None:
    assert assessed(customer=contact("x7k2qp9d@gmail.com")).score == CAPS[Kind.CONTACT] == 50


@pytest.mark.parametrize("language", ["", "en", "et-EE", "-", "en-", "es-419", "x" * 50])
def test_a_language_without_another_country_says_nothing(language: str) -> None:
    assert assessed(device_language=language).score == 0


def test_a_countrys_name_is_not_compared_with_a_code() -> None:
    address = Address("Narva mnt 18", "Tartu", "", "51009", "Estonia")
    assert assessed(billing_address=address, device_language="en-US", instrument_country="DE").score == 0


# The most that each kind of evidence can say, alone.
WORST: dict[Kind, dict[str, Any]] = {
    Kind.CONTACT: {"customer": Customer("M4ri", "x7k2qp9d@gmail.com")},
    Kind.BASKET: {"items": [OrderItem("A", 99), OrderItem("B", 99)], "amount_cents": 10**9},
    Kind.PLACE: {"device_language": "en-US", "instrument_country": "DE"},
    Kind.PACE: {"customer_orders": 10**6, "instrument_orders": 10**6, "interval_s": 0.0},
}


@pytest.mark.parametrize("kind", WORST)
def test_no_heap_of_one_kind_of_oddity_rejects(kind: Kind) -> None:
    assessment = assessed(**WORST[kind])
    assert {signal.kind for signal in assessment.signals} == {kind}
    assert assessment.score == CAPS[kind] < 80
    assert not assessment.user_reasons
    assert not assessment.payment_reasons


def test_a_load_client_with_a_big_basket_abroad_is_not_rejected() -> None:
    changes = WORST[Kind.PACE] | {"device_language": "en-US", "items": [OrderItem("A", 20)], "amount_cents": 90_000}
    assessment = assessed(customer=Customer("User 1", "user1@example.com"), **changes)
    assert assessment.score == 60
    assert not assessment.user_reasons
    assert not assessment.payment_reasons


def test_kinds_together_reject_and_say_why() -> None:
    assessment = assessed(**WORST[Kind.CONTACT], **WORST[Kind.BASKET])
    assert assessment.score == 90
    assert {reason.code for reason in assessment.user_reasons} == {
        "fraud_random_contact", "fraud_unlike_name", "fraud_odd_name",
        "fraud_high_amount", "fraud_many_copies", "fraud_many_books",
    }  # fmt: skip
    assert all("fraud" in reason.message for reason in assessment.user_reasons)


def test_what_only_the_payment_makes_suspect_fails_its_event() -> None:
    assessment = assessed(**WORST[Kind.CONTACT], **WORST[Kind.PLACE])
    assert not assessment.user_reasons
    assert "fraud_payment_country_mismatch" in {reason.code for reason in assessment.payment_reasons}


def test_nine_new_cards_of_one_contact_at_one_address_are_card_testing() -> None:
    assert assessed(customer_new_instruments=9, address_new_instruments=9).payment_reasons


@pytest.mark.parametrize(("cards", "usual", "random"), [(1, 0, 0), (2, 0, 15), (3, 0, 30), (4, 0, 30), (5, 40, 40)])
def test_a_few_cards_are_odd_only_for_an_address_that_nobody_would_remember(
    cards: int, usual: int, random: int
) -> None:
    assert assessed(customer_new_instruments=cards).score == usual
    suspect = assessed(customer=contact("x7k2qp9d@gmail.com"), customer_new_instruments=cards)
    assert suspect.score == CAPS[Kind.CONTACT] + random


def test_review_is_what_passes_and_should_be_looked_at() -> None:
    assert not assessed(amount_cents=300_000).review
    odd = assessed(**WORST[Kind.CONTACT], device_language="en-US")
    assert odd.score == 60
    assert odd.review
    assert not assessed(**WORST[Kind.CONTACT], **WORST[Kind.BASKET]).review


def test_what_the_user_alone_made_suspect_is_not_told_twice() -> None:
    assert not assessed(customer=contact("x@shop.test"), instrument_orders=200).payment_reasons


SUSPECTS = st.builds(
    Suspect,
    customer=st.builds(Customer, st.text(max_size=50), st.text(max_size=50) | st.just("x7k2qp9d@gmail.com")),
    billing_address=st.builds(Address, *[st.text(max_size=10)] * 4, st.sampled_from(["EE", "DE", "Estonia"])),
    items=st.lists(st.builds(OrderItem, st.sampled_from("AB"), st.integers(0, 10_000)), max_size=5),
    amount_cents=st.integers(0, 10**12),
    device_language=st.sampled_from(["", "et-EE", "en-US"]) | st.text(max_size=20),
    instrument_country=st.sampled_from(["", "EE", "DE"]),
    customer_orders=st.integers(0, 1000),
    instrument_orders=st.integers(0, 1000),
    interval_s=st.none() | st.floats(0, 100),
    customer_new_instruments=st.integers(0, 16),
    address_new_instruments=st.integers(0, 16),
)


@given(SUSPECTS, st.integers(1, 100))
def test_reasons_are_given_exactly_from_the_threshold_on(suspect: Suspect, reject_score: int) -> None:
    assessment = assess(suspect, Thresholds(reject_score, 60, 100))
    assert 0 <= assessment.score <= 100
    rejected = bool(assessment.user_reasons or assessment.payment_reasons)
    assert rejected == (assessment.score >= reject_score)


@given(SUSPECTS, st.integers(0, 50))
def test_a_models_signal_only_adds(suspect: Suspect, weight: int) -> None:
    before = assess(suspect, Thresholds(80, 60, 100))
    after = before.with_payment_signal(Signal(Kind.MODEL, Reason("second_opinion", "it is odd"), weight))
    assert after.score >= before.score
    assert after.user_reasons == before.user_reasons
    assert bool(after.payment_reasons) >= bool(before.payment_reasons)
    assert after.score <= max(DECISIVE, before.score + weight)
