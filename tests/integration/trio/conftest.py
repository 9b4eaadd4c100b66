"""Fixtures of the trio's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.trio.trio import History, Trio, running_trio
from utils.verification.events import Event
from utils.verification.runs import Run


@pytest.fixture
async def trio() -> AsyncIterator[Trio]:
    async with running_trio() as running:
        yield running


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> History:
    """Every event of all three services, as it happens, with its clock."""
    history = History()
    happen = Run.happen

    def recorded(run: Run, event: Event) -> None:
        happen(run, event)
        history.append(event, run.state.clock)

    monkeypatch.setattr(Run, "happen", recorded)
    return history
