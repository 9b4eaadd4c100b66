"""Different cards of one contact: counted, bounded, forgotten in time."""

from hypothesis import given, strategies as st

from fraud_detection.links import Links, LinkWindow

CARDS = [bytes([number]) * 16 for number in range(40)]


def test_counts_different_ones_and_says_which_is_new() -> None:
    window = LinkWindow(100, keys_max=10, links_max=8)
    seen = [window.observe(b"a" * 16, CARDS[number], 0.0) for number in (0, 1, 0, 2)]
    assert seen == [Links(1, True), Links(2, True), Links(2, False), Links(3, True)]
    assert window.observe(b"b" * 16, CARDS[0], 0.0) == Links(1, True)


def test_forgets_what_was_not_seen_for_a_window() -> None:
    window = LinkWindow(100, keys_max=10, links_max=8)
    for now_s, card in ((0.0, 0), (50.0, 1), (90.0, 0)):
        window.observe(b"a" * 16, CARDS[card], now_s)
    assert window.observe(b"a" * 16, CARDS[2], 150.0) == Links(2, True)
    assert window.observe(b"a" * 16, CARDS[0], 400.0) == Links(1, True)


def test_memory_is_bounded_in_both_directions() -> None:
    window = LinkWindow(100, keys_max=3, links_max=8)
    for card in CARDS:
        window.observe(b"a" * 16, card, 0.0)
    assert window.observe(b"a" * 16, b"new" * 5 + b"!", 0.0) == Links(8, True)
    for key in CARDS:
        window.observe(key, CARDS[0], 0.0)
    assert len(window) == 3


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 5)), max_size=60))
def test_agrees_with_a_model_that_remembers_everything(steps: list[tuple[float, int]]) -> None:
    window = LinkWindow(100, keys_max=10, links_max=8)
    last: dict[int, float] = {}
    now_s = 0.0
    for pause_s, card in steps:
        now_s += pause_s
        living = {other for other, seen_s in last.items() if seen_s > now_s - 100}
        assert window.observe(b"a" * 16, CARDS[card], now_s) == Links(len(living | {card}), card not in living)
        last[card] = now_s
