"""Ids that outlive everything else about an order."""

import random

from hypothesis import given, strategies as st

from utils.domain.order_ids import OrderIds

_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(st.lists(_ids), st.lists(_ids))
def test_it_is_a_set_that_survives_its_dump(added: list[str], others: list[str]) -> None:
    ids = OrderIds()
    for order_id in added:
        ids.add(order_id)
    again = OrderIds(ids.dump())
    for order_id in added + others:
        assert (order_id in ids) == (order_id in again) == (order_id in added)
    assert len(ids) == len(again) == len(set(added))


@given(st.lists(_ids, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_adding_does_not_show(added: list[str], chance: random.Random) -> None:
    one, other = OrderIds(), OrderIds()
    for order_id in added:
        one.add(order_id)
    for order_id in chance.sample(added, len(added)):
        other.add(order_id)
    assert one.dump() == other.dump()
    assert len(one.dump()) == 8 * len(added)


@given(st.lists(_ids, unique=True, min_size=1), _ids)
def test_what_is_discarded_leaves_no_trace(added: list[str], other: str) -> None:
    ids, expected = OrderIds(), OrderIds()
    for order_id in added:
        ids.add(order_id)
    for order_id in added[1:]:
        expected.add(order_id)
    ids.discard(added[0])
    ids.discard(added[0])
    assert (ids.dump(), len(ids)) == (expected.dump(), len(expected))
    ids.discard(other)
    assert (ids.dump(), len(ids)) == (expected.dump(), len(expected)) or other in added
