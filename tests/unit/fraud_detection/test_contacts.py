"""What a name and an address tell: people from everywhere are people."""

import pytest
from hypothesis import given, strategies as st

from fraud_detection.contacts import local_part, looks_random, odd_name, unlike_name

HONEST = [
    ("Mari Maasikas", "mari.maasikas@gmail.com"),
    ("Katrin Szczepańska", "kszczepanska1987@wp.pl"),
    ("Søren Ålander", "soren_a@telia.se"),
    ("Bartłomiej Król", "bartek.krol@wp.pl"),
    ("Li Wang", "li.w@example.com"),
    ("Rhys Llewellyn", "rl@example.com"),
    ("Siobhán O'Brien", "brien.siobhan+books@example.com"),
    ("Thomas Schwarz", "schwarz99@gmx.de"),
    ("Ng", "ng@example.com"),
    ("Ольга Кузнецова", "olga.k@mail.ru"),
    ("王伟", "wangwei1990@example.com"),
    ("Jane Roe", "+372 5555 5555"),
    ("Jane Roe", ""),
]


@pytest.mark.parametrize(("name", "contact"), HONEST)
def test_addresses_made_from_names_are_like_them(name: str, contact: str) -> None:
    assert not unlike_name(contact, name)
    assert not looks_random(contact, name)
    assert not odd_name(name)


@pytest.mark.parametrize("local", ["bookworm", "nightowl1987", "sunshine", "tartu.library", "orders", "kassike"])
def test_nicknames_are_unlike_the_name_and_not_random(local: str) -> None:
    assert unlike_name(f"{local}@gmail.com", "Mari Maasikas")
    assert not looks_random(f"{local}@gmail.com", "Mari Maasikas")


@pytest.mark.parametrize("local", ["x7k2qp9d", "8f3jq0zz", "qwrtzplk", "a1b2c3", "k4tplm.x9"])
def test_what_nobody_would_remember_is_random(local: str) -> None:
    assert looks_random(f"{local}@gmail.com", "Mari Maasikas")
    assert not looks_random(f"{local}@privaterelay.appleid.com", "Mari Maasikas")


@pytest.mark.parametrize("name", ["Mari 2", "x8fk2l qpw", "Xkcdqrwtz Plm"])
def test_odd_names(name: str) -> None:
    assert odd_name(name)


def test_the_local_part_is_before_the_tag() -> None:
    assert local_part(" Mari+Books@Example.com ") == "mari"
    assert local_part("+372 5555") == ""


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_may_be_typed(contact: str, name: str) -> None:
    for told in (looks_random(contact, name), unlike_name(contact, name), odd_name(name)):
        assert told in {True, False}
