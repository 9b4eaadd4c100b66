import pytest

from orchestrator.identity import Identities
from orchestrator.problems import KeyInvalid
from tests.unit.orchestrator.fakes import CARD_NUMBER, body
from utils.domain.order import ORDER_ID

IDENTITIES = Identities("a secret of some length")


def test_an_order_without_a_key_has_an_id_of_its_own() -> None:
    ids = {IDENTITIES.order_id(None) for _ in range(100)}
    assert len(ids) == 100
    assert all(ORDER_ID.fullmatch(order_id) for order_id in ids)


def test_a_key_always_gives_the_same_id_and_another_secret_another_one() -> None:
    order_id = IDENTITIES.order_id("key-1")
    assert ORDER_ID.fullmatch(order_id)
    assert order_id == Identities("a secret of some length").order_id("key-1")
    assert order_id != IDENTITIES.order_id("key-2")
    assert order_id != Identities("another secret of some length").order_id("key-1")


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 256, "schlüssel", "a\n", "\x00"])
def test_a_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(KeyInvalid):
        IDENTITIES.order_id(key)


def test_a_fingerprint_tells_bodies_apart_and_not_their_spelling() -> None:
    one = body()
    assert len(IDENTITIES.fingerprint(one)) == 32
    assert IDENTITIES.fingerprint(one) == IDENTITIES.fingerprint(dict(reversed(one.items())))
    assert IDENTITIES.fingerprint(one) != IDENTITIES.fingerprint(body(items=[{"name": "Book A", "quantity": 2}]))
    assert IDENTITIES.fingerprint(one) != Identities("another secret of some length").fingerprint(one)


def test_a_fingerprint_holds_the_card_s_number_and_not_its_cvv() -> None:
    def card(number: str, cvv: str) -> bytes:
        return IDENTITIES.fingerprint(body(creditCard={"number": number, "expirationDate": "12/34", "cvv": cvv}))

    assert card(CARD_NUMBER, "123") == card(CARD_NUMBER, "999")
    assert card(CARD_NUMBER, "123") != card("4012888888881881", "123")
    assert IDENTITIES.fingerprint(body(creditCard="a card")) != IDENTITIES.fingerprint(body(creditCard="another"))


def test_a_customer_is_known_again_and_not_by_name() -> None:
    assert IDENTITIES.customer_hash("Ada@Example.com ") == IDENTITIES.customer_hash("ada@example.com")
    assert IDENTITIES.customer_hash("ada@example.com") != IDENTITIES.customer_hash("bob@example.com")
    assert len(IDENTITIES.customer_hash("")) == 32
