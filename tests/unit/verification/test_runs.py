"""The table of runs: early, begun and over, each within its bound and each for its time."""

import asyncio
from contextlib import ExitStack

import pytest
from structlog.testing import CapturingLogger

from utils.clocks.vector_clock import VectorClock
from utils.rpc.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ResourceExhausted
from utils.verification.events import FRAUD_DETECTION, TRANSACTION_VERIFICATION, Event
from utils.verification.runs import Limits, RunId, RunTable

B = (Event.A, Event.B)
B_CLOCK = VectorClock({TRANSACTION_VERIFICATION: 2})
NOTHING = VectorClock()


def run_id(number: int) -> RunId:
    return RunId.checked(f"{number:032x}", f"{number:016x}")


def table(**limits: float) -> RunTable:
    return RunTable(FRAUD_DETECTION, Limits(**limits))  # type: ignore[arg-type]


async def until_empty(runs: RunTable) -> None:
    async with asyncio.timeout(5):
        while len(runs):  # noqa: ASYNC110 - expiry tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("order_id", "run"),
    [("", ""), ("a" * 31, "b" * 16), ("A" * 32, "b" * 16), ("a" * 32, "b" * 17), ("a" * 32, "g" * 16)],
)
def test_what_is_not_an_id_is_refused(order_id: str, run: str) -> None:
    with pytest.raises(InvalidArgument):
        RunId.checked(order_id, run)


async def test_what_came_before_the_order_is_there_when_it_begins() -> None:
    runs = table()
    early = runs.hear_of(run_id(1))
    assert early is not None
    early.hear(TRANSACTION_VERIFICATION, B, B_CLOCK)
    with runs.begin(run_id(1), VectorClock({"orchestrator": 1}), 1) as run:
        await asyncio.wait_for(run.prerequisite(Event.D), 1)
        assert run.state.clock == VectorClock({"orchestrator": 1, TRANSACTION_VERIFICATION: 2})
    runs.close()


async def test_a_stop_before_the_order_stops_it() -> None:
    runs = table()
    early = runs.hear_of(run_id(1))
    assert early is not None
    early.stop("name_missing")
    with runs.begin(run_id(1), NOTHING, 1) as run:
        assert run.stopped.is_set()
    runs.close()


async def test_runs_of_the_same_order_do_not_mix() -> None:
    runs = table()
    first, second = RunId.checked("a" * 32, "1" * 16), RunId.checked("a" * 32, "2" * 16)
    with runs.begin(first, NOTHING, 1) as one, runs.begin(second, NOTHING, 1) as other:
        one.hear(TRANSACTION_VERIFICATION, B, B_CLOCK)
        assert not other.state.knows(Event.B)
        runs.forget(first)
        assert not other.stopped.is_set()
    runs.close()


async def test_a_run_begins_once() -> None:
    runs = table()
    with runs.begin(run_id(1), NOTHING, 1):
        pass
    with pytest.raises(AlreadyExists), runs.begin(run_id(1), NOTHING, 1):
        pass
    runs.forget(run_id(1))
    with pytest.raises(FailedPrecondition), runs.begin(run_id(1), NOTHING, 1):
        pass
    runs.close()


async def test_what_comes_late_to_a_run_that_is_over_starts_nothing() -> None:
    runs = table()
    with runs.begin(run_id(1), NOTHING, 1) as run:
        run.hear(TRANSACTION_VERIFICATION, B, B_CLOCK)
    assert runs.forget(run_id(1)) == B_CLOCK
    assert runs.hear_of(run_id(1)) is None
    assert runs.forget(run_id(1)) == B_CLOCK, "forgetting again answers the same"
    assert len(runs) == 1
    runs.close()


async def test_forgetting_stops_a_run_that_is_active() -> None:
    runs = table()
    with runs.begin(run_id(1), NOTHING, 1) as run:
        runs.forget(run_id(1))
        await asyncio.wait_for(run.prerequisite(Event.D), 1)
        assert run.state.stop_cause == "forgotten"
    runs.close()


@pytest.mark.parametrize("deadline_s", [0, -1, 60.001])
async def test_deadlines_are_bounded(deadline_s: float) -> None:
    with pytest.raises(InvalidArgument), table().begin(run_id(1), NOTHING, deadline_s):
        pass


async def test_early_runs_are_bounded() -> None:
    runs = table(early_max=2)
    assert runs.hear_of(run_id(1))
    assert runs.hear_of(run_id(2))
    with pytest.raises(ResourceExhausted):
        runs.hear_of(run_id(3))
    assert runs.hear_of(run_id(2)), "one that is known is heard of again"
    runs.close()


async def test_active_runs_are_bounded_and_ended_ones_make_room() -> None:
    runs = table(begun_max=2)
    with ExitStack() as active:
        active.enter_context(runs.begin(run_id(1), NOTHING, 1))
        with runs.begin(run_id(2), NOTHING, 1):
            pass
        active.enter_context(runs.begin(run_id(3), NOTHING, 1))
        with pytest.raises(ResourceExhausted):
            active.enter_context(runs.begin(run_id(4), NOTHING, 1))
    assert runs.hear_of(run_id(2)) is None, "the ended one is over"
    runs.close()


async def test_ids_of_runs_that_are_over_are_bounded() -> None:
    runs = table(over_max=3)
    for number in range(10):
        runs.forget(run_id(number))
    assert len(runs) == 3
    assert runs.hear_of(run_id(9)) is None
    runs.close()


async def test_everything_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()
    monkeypatch.setattr("utils.verification.runs.log", log)
    runs = table(early_age_s_max=0.02, over_age_s_max=0.02, linger_s=0.01, sweep_interval_s=0.01)
    runs.hear_of(run_id(1))
    runs.forget(run_id(2))
    with runs.begin(run_id(3), NOTHING, 0.01):
        pass
    await until_empty(runs)
    assert [call.kwargs["order_id"] for call in log.calls] == [run_id(3).order_id]
    assert runs._sweeper is None, "an empty table costs nothing"


async def test_an_active_run_does_not_expire() -> None:
    runs = table(linger_s=0.0, sweep_interval_s=0.005, over_age_s_max=0.01)
    with runs.begin(run_id(1), NOTHING, 0.001) as run:
        await asyncio.sleep(0.05)
        assert not run.stopped.is_set()
    await until_empty(runs)
