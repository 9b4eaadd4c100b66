from hypothesis import given, strategies as st

from utils.two_phase_commit.positions import Positions

_orders = st.lists(st.tuples(st.integers(1, 50), st.text(max_size=3)))


@given(_orders, _orders, st.lists(st.integers(0, 60)))
def test_each_order_is_taken_once_as_soon_as_the_watermark_passes_it(
    before: list[tuple[int, str]], after: list[tuple[int, str]], watermarks: list[int]
) -> None:
    positions = Positions(before)
    for order in after:
        positions.add(*order)
    left = sorted(before + after)
    for watermark in watermarks:
        taken = positions.take_below(watermark)
        assert taken == [order_id for position, order_id in left if position < watermark]
        left = [order for order in left if order[0] >= watermark]
