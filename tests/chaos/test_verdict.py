"""A verdict names what was broken, and refuses to say anything after a run in which too little happened."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos.checker import Rule, Violation
from tests.chaos.gaps import Gap
from tests.chaos.verdict import HEARD_ALWAYS, ORDERS_MIN, Verdict

GOOD = Verdict(
    orders=ORDERS_MIN,
    fault_cycles=5,
    violations=[],
    gaps={"kill": Gap(1, 2.5, "kill", one_node=True), "power cut": Gap(10, 30, "power cut", one_node=False)},
    heard=Counter(HEARD_ALWAYS),
    cycles_min=5,
)


def test_run_without_violations_passes() -> None:
    assert GOOD.passed
    assert json.loads(GOOD.summary()) == {
        "orders": ORDERS_MIN,
        "fault_cycles": 5,
        "violations": 0,
        "lost": 0,
        "double_charges": 0,
        "oversold": 0,
        "longest_gap_s": 1.5,
    }


def test_what_does_not_recover_fails() -> None:
    broken = replace(GOOD, unrecovered="not healthy after 120 s: ['suggestions']")
    assert not broken.passed
    assert any("suggestions" in line for line in broken.report())


def test_violations_fail_and_are_counted_by_what_they_are() -> None:
    rules = (Rule.LOST, Rule.FORGOTTEN, Rule.CHARGED_TWICE, Rule.OVERSOLD, Rule.OVERSOLD, Rule.HELD)
    broken = replace(GOOD, violations=[Violation(rule, "order") for rule in rules])
    summary = json.loads(broken.summary())
    assert not broken.passed
    assert [summary[name] for name in ("violations", "lost", "double_charges", "oversold")] == [6, 2, 1, 2]


@pytest.mark.parametrize(
    "poor",
    [
        replace(GOOD, orders=ORDERS_MIN - 1),
        replace(GOOD, fault_cycles=4),
        *(replace(GOOD, heard=Counter(heard for heard in HEARD_ALWAYS if heard != silent)) for silent in HEARD_ALWAYS),
    ],
    ids=["few orders", "few faults", *HEARD_ALWAYS],
)
def test_run_with_too_little_traffic_fails(poor: Verdict) -> None:
    assert not poor.passed
    assert poor.too_little
