"""Plants one bug at a time and runs the test that must kill it: by an assertion, which passes without the bug."""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
# The known accidents, and one for each sentence of the paper that matters.
SCENARIOS = ("tests/scenarios", "tests/unit/raft/core")
_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class PlantedBug:
    """`plant` makes one small wrong change until the test ends; its docstring says what that would break."""

    plant: Callable[[pytest.MonkeyPatch], None]
    # As pytest names it, from the project's root.
    killer: str

    @property
    def name(self) -> str:
        return self.plant.__name__

    @property
    def breaks(self) -> str:
        assert self.plant.__doc__, f"{self.name} does not say what it breaks"
        return self.plant.__doc__.strip()


@dataclasses.dataclass(frozen=True)
class Kill:
    bug: PlantedBug
    is_killed: bool
    how: str


@dataclasses.dataclass
class Tally:
    """A plugin of pytest that counts, and keeps what the last failure was."""

    passed: int = 0
    failed: int = 0
    error: BaseException | None = None
    # As planted bugs name them: with their parameters, or without.
    collected: frozenset[str] = frozenset()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        names = [item.nodeid for item in session.items]
        self.collected = frozenset(names) | {name.partition("[")[0] for name in names}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed += 1
        elif report.when == "call":
            self.passed += report.passed

    def pytest_exception_interact(self, call: pytest.CallInfo[Any]) -> None:
        if call.excinfo is not None:
            self.error = call.excinfo.value


class _Planting:
    """A plugin: the bug is there from a test's first fixture to its last."""

    def __init__(self, bug: PlantedBug) -> None:
        self._bug = bug

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        with pytest.MonkeyPatch.context() as patch:
            self._bug.plant(patch)
            return (yield)


def run_scenarios() -> Tally:
    """All directed scenarios."""
    tally = _run(SCENARIOS)
    print(f"{tally.passed} scenarios passed, {tally.failed} failed", flush=True)
    return tally


def plant(bug: PlantedBug) -> Kill:
    tally = _run([bug.killer], _Planting(bug))
    error = tally.error
    # pytest's own word for an assertion that something is raised; a time-out has the same type.
    did_not_raise = isinstance(error, pytest.fail.Exception) and str(error).startswith("DID NOT RAISE")
    how = " ".join(f"{type(error).__name__}: {error}".split())
    return Kill(
        bug, isinstance(error, AssertionError) or did_not_raise, how if error else f"it survives {tally.passed} tests"
    )


def plant_all(planted: Sequence[PlantedBug], name: str = "") -> list[Kill]:
    """Every planted bug, or the one of that name, each with what became of it, which is printed too."""
    bugs = [bug for bug in planted if name in ("", bug.name)]
    assert bugs, f"there is no planted bug called {name}"
    missing = missing_killers(bugs)
    assert not missing, f"these tests are missing, renamed perhaps: {', '.join(missing)}"
    clean = _run(sorted({bug.killer for bug in bugs}))
    assert not clean.failed, f"without any bug: {clean.error}"
    kills = []
    for bug in bugs:
        kill = plant(bug)
        kills.append(kill)
        verdict = "killed  " if kill.is_killed else "SURVIVES"
        print(f"{verdict} {bug.name}: {bug.breaks}\n           {bug.killer}\n           {kill.how[:200]}", flush=True)
    print(f"{sum(kill.is_killed for kill in kills)} of {len(kills)} planted bugs are killed", flush=True)
    return kills


def missing_killers(planted: Sequence[PlantedBug]) -> list[str]:
    """The tests that planted bugs name, and that are not there."""
    killers = {bug.killer for bug in planted}
    files = sorted(file for file in {killer.partition("::")[0] for killer in killers} if (_ROOT / file).exists())
    return sorted(killers - (_run(files, options=("--collect-only",)).collected if files else set()))


def _run(what: Sequence[str], *plugins: object, options: Sequence[str] = ()) -> Tally:
    tally = Tally()
    paths = [str(_ROOT / path) for path in what]
    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        f"--timeout={_TIMEOUT_S}",
        "--rootdir",
        str(_ROOT),
        "-c",
        str(_ROOT / "pyproject.toml"),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*arguments, *options, *paths], plugins=[tally, *plugins])
    return tally
