"""One system in containers for all tests of this folder. What it took is printed at the end."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.containers.compose import ROOT, Compose, docker_is_there

_HERE = Path(__file__).parent
_RUNNING = pytest.StashKey[ExitStack]()
_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def compose(request: pytest.FixtureRequest) -> Iterator[Compose]:
    if not docker_is_there():
        pytest.skip("no Docker engine answers here")
    stash = request.config.stash
    stash[_RUNNING] = running = ExitStack()
    compose = running.enter_context(Compose("--profile", "chaos"))
    stash[_FIGURES] = compose.figures
    yield compose
    running.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The containers end with the last test of this folder: no other system runs beside them."""
    if nextitem is None or _HERE not in nextitem.path.parents:
        item.config.stash.get(_RUNNING, ExitStack()).close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, None)
    if figures is None:
        return
    terminalreporter.section("containers")
    for line in figures:
        terminalreporter.write_line(line)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "containers.txt").write_text("\n".join([*figures, ""]))
