"""Gives each test of the coordinator a hand whose order has just been started."""

import pytest

from tests.unit.two_phase_commit_coordinator.hand import DB, PAYMENT, Hand, attempt
from utils.two_phase_commit.actions import SendPrepare


@pytest.fixture
def hand() -> Hand:
    hand = Hand()
    assert hand.coordinator.start() == [SendPrepare(DB, attempt()), SendPrepare(PAYMENT, attempt())]
    return hand
