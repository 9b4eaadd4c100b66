"""The circuit breaker: closed, open, half open; and that no order of ends wedges it."""

from hypothesis import given, strategies as st

from utils.generative_ai.circuit_breaker import CircuitBreaker, State, Ticket


def opened(breaker: CircuitBreaker, now_s: float, failures: int = 3) -> None:
    for _ in range(failures):
        ticket = breaker.begin(now_s)
        assert ticket is not None
        breaker.fail(ticket, now_s)


def breaker_of_three() -> CircuitBreaker:
    return CircuitBreaker(failures_max=3, open_s=5.0, open_s_max=15.0)


def begun(breaker: CircuitBreaker, now_s: float) -> Ticket:
    ticket = breaker.begin(now_s)
    assert ticket is not None
    return ticket


def test_opens_after_so_many_failures_in_a_row_and_lets_one_probe_through() -> None:
    breaker = breaker_of_three()
    opened(breaker, 0.0)
    assert breaker.state(4.9) is State.OPEN
    assert breaker.begin(4.9) is None
    assert breaker.state(5.0) is State.HALF_OPEN
    assert breaker.begin(5.0) is not None
    assert breaker.begin(5.0) is None


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = breaker_of_three()
    opened(breaker, 0.0, failures=2)
    breaker.succeed(begun(breaker, 0.0))
    opened(breaker, 0.0, failures=2)
    assert breaker.state(0.0) is State.CLOSED


def test_a_probe_that_succeeds_closes_and_one_that_fails_opens_for_twice_as_long() -> None:
    breaker = breaker_of_three()
    opened(breaker, 0.0)
    breaker.fail(begun(breaker, 5.0), 5.0)
    assert breaker.begin(14.9) is None
    breaker.fail(begun(breaker, 15.0), 15.0)
    # Twenty seconds would be more than the most.
    assert breaker.begin(29.9) is None
    breaker.succeed(begun(breaker, 30.0))
    assert breaker.state(30.0) is State.CLOSED
    opened(breaker, 31.0)
    assert breaker.begin(35.9) is None
    assert breaker.begin(36.0) is not None


def test_a_probe_whose_asker_left_makes_room_for_another() -> None:
    breaker = breaker_of_three()
    opened(breaker, 0.0)
    breaker.abandon(begun(breaker, 5.0))
    assert breaker.begin(5.0) is not None


def test_calls_that_end_late_say_nothing_about_now() -> None:
    breaker = breaker_of_three()
    early = [begun(breaker, 0.0) for _ in range(2)]
    opened(breaker, 0.0)
    breaker.succeed(early[0])
    assert breaker.begin(1.0) is None
    probe = begun(breaker, 5.0)
    breaker.fail(early[1], 5.0)
    breaker.abandon(early[1])
    assert breaker.begin(5.0) is None
    breaker.succeed(probe)
    assert breaker.state(5.0) is State.CLOSED


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.sampled_from(["begin", "succeed", "fail", "abandon"]), st.integers(0, 9)),
        max_size=80,
    )
)
def test_never_stays_shut(steps: list[tuple[float, str, int]]) -> None:
    """Whatever happened: once every call has ended and the longest time is over, a call is let through."""
    breaker = breaker_of_three()
    calls: list[Ticket] = []
    now_s = 0.0
    for pause_s, step, which in steps:
        now_s += pause_s
        if step == "begin":
            state = breaker.state(now_s)
            ticket = breaker.begin(now_s)
            assert ticket is None or state is not State.OPEN
            calls += [] if ticket is None else [ticket]
        elif calls:
            ticket = calls.pop(which % len(calls))
            if step == "fail":
                breaker.fail(ticket, now_s)
            elif step == "succeed":
                breaker.succeed(ticket)
            else:
                breaker.abandon(ticket)
    for ticket in calls:
        breaker.abandon(ticket)
    assert breaker.begin(now_s + 15.0) is not None
