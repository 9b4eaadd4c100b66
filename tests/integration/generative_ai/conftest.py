"""The fake of Google's service, and counters that begin at nothing."""

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_generative_ai import FakeGenerativeAi
from utils.observe import counters


@pytest.fixture
async def fake() -> AsyncIterator[FakeGenerativeAi]:
    async with FakeGenerativeAi() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_counters", type(counters._counters)())
