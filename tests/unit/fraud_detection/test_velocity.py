"""Counting in a window, and the keys by which it counts."""

from hypothesis import given, strategies as st

from fraud_detection.fingerprint import Fingerprints
from fraud_detection.velocity import Pace, VelocityWindow


def test_counts_within_the_window() -> None:
    window = VelocityWindow(60, 10)
    assert [window.observe(b"a", now_s) for now_s in (0.0, 1.0, 59.0)] == [Pace(1, None), Pace(2, 1.0), Pace(3, 58.0)]
    assert window.observe(b"b", 59.0) == Pace(1, None)


def test_what_left_the_window_counts_in_proportion_and_then_not_at_all() -> None:
    window = VelocityWindow(60, 10)
    for _ in range(10):
        window.observe(b"a", 30.0)
    assert window.observe(b"a", 90.0).orders == 1 + 5
    assert window.observe(b"a", 240.0).orders == 1


@given(st.lists(st.floats(0, 300), min_size=1, max_size=60).map(sorted))
def test_never_counts_more_than_two_windows_or_less_than_this_one(times: list[float]) -> None:
    window = VelocityWindow(60, 10)
    for number, now_s in enumerate(times):
        count = window.observe(b"a", now_s).orders
        seen = times[: number + 1]
        assert sum(time // 60 == now_s // 60 for time in seen) <= count
        assert count <= sum(time // 60 >= now_s // 60 - 1 for time in seen)


def test_keys_are_bounded_and_the_longest_unseen_makes_room() -> None:
    window = VelocityWindow(60, 2)
    for key in (b"a", b"b", b"a", b"c"):
        window.observe(key, 0.0)
    assert len(window) == 2
    assert window.observe(b"a", 0.0).orders == 3
    assert window.observe(b"b", 0.0).orders == 1


def test_fingerprints_are_of_a_key_a_kind_and_a_value() -> None:
    ours = Fingerprints("secret")
    assert ours.of("card", "4111 1111") == ours.of("card", "41111111") == Fingerprints("secret").of("card", "41111111")
    others = [ours.of("iban", "41111111"), ours.of("card", "41111112"), Fingerprints("other").of("card", "41111111")]
    assert len({ours.of("card", "41111111"), *others}) == 4
    assert ours.of("customer", "Mari@Example.com ") == ours.of("customer", "mari@example.com")


def test_a_secret_of_any_length_and_bytes_will_do() -> None:
    assert len(Fingerprints("x" * 1_000).of("card", "1")) == 16
    assert len(Fingerprints("\udcff").of("card", "1")) == 16
