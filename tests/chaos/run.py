"""One chaos run: a system of its own, clients that order, faults by schedule, healing, and the verdict."""

import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bookstore.running import RunningSystem
from bookstore.shop_client import stock
from bookstore.system import ORCHESTRATOR
from tests.chaos.checker import DOUBLE_CHARGES, END_S_MAX, LOSSES, OVERSALES, Rule, Violation, check
from tests.chaos.evidence import gather, stock_the_shelf
from tests.chaos.gaps import Gap, longest_by_phase
from tests.chaos.history import Recorder
from tests.chaos.injector import Injector
from tests.chaos.schedule import schedule
from tests.chaos.shelf import Shelf
from tests.chaos.shop_door import ShopDoor
from tests.chaos.shopper import Shopper

SHOPPERS = 16
# A run with less has proved nothing.
ORDERS_MIN = 200
SECONDS_PER_CYCLE_MAX = 30.0
WARM_UP_S = 3.0
# A shopper may wait for an answer that long past the time in which every order must have ended.
FINISH_S = END_S_MAX + 60.0
EDITIONS_PER_MINUTE = 12
# Luck has no place here: what a client may expect follows from how it pays.
LUCK = {"PAYMENT_CARD_SUCCESS_RATE": "1", "PAYMENT_BANK_SUCCESS_RATE": "0"}


@dataclass(frozen=True)
class Plan:
    """Until `cycles` faults are over, or, where that is None, until `seconds` are."""

    seed: int
    seconds: float
    cycles: int | None = None

    def enough(self, done: int, elapsed_s: float) -> bool:
        return elapsed_s >= self.seconds if self.cycles is None else done >= self.cycles

    @property
    def cycles_min(self) -> int:
        return int(self.seconds / SECONDS_PER_CYCLE_MAX) if self.cycles is None else self.cycles

    @property
    def command(self) -> str:
        """What replays it."""
        length = f"--seconds {self.seconds:.0f}" if self.cycles is None else f"--cycles {self.cycles}"
        return f"python -m tests.chaos --seed {self.seed} {length}"


@dataclass(frozen=True)
class Verdict:
    """`too_little`: why the run proves nothing; empty when it does."""

    orders: int
    fault_cycles: int
    violations: list[Violation]
    gaps: dict[str, Gap]
    too_little: str

    @property
    def longest_gap_s(self) -> float:
        """While one node of one of the three clusters was lost, killed or paused."""
        return max((gap.length_s for gap in self.gaps.values() if gap.one_node), default=0.0)

    @property
    def passed(self) -> bool:
        return not self.violations and not self.too_little

    def summary(self) -> str:
        def count(rules: tuple[Rule, ...]) -> int:
            return sum(violation.rule in rules for violation in self.violations)

        return json.dumps(
            {
                "orders": self.orders,
                "fault_cycles": self.fault_cycles,
                "violations": len(self.violations),
                "lost": count(LOSSES),
                "double_charges": count(DOUBLE_CHARGES),
                "oversold": count(OVERSALES),
                "longest_gap_s": round(self.longest_gap_s, 2),
            }
        )


def new_seed() -> int:
    return secrets.randbelow(10**9)


def run(plan: Plan, directory: Path, say: Callable[[str], None]) -> Verdict:
    """Plays `plan` with the system's data, logs, history and evidence in `directory`."""
    say(f"seed {plan.seed}; replay with: {plan.command}")
    with RunningSystem(directory, LUCK) as system:
        expected_s = plan.seconds if plan.cycles is None else plan.cycles * SECONDS_PER_CYCLE_MAX
        shelf = Shelf(editions=5 + int(expected_s / 60 * EDITIONS_PER_MINUTE), seed=plan.seed)
        stock_the_shelf(system, shelf.copies(), shelf.prices_cents())
        recorder = Recorder(stock(system))
        door = ShopDoor(system.state.process(ORCHESTRATOR).port, recorder)
        closing = threading.Event()
        shoppers = [Shopper(plan.seed + number, shelf, door, recorder, closing) for number in range(SHOPPERS)]
        for shopper in shoppers:
            shopper.start()
        try:
            injector = Injector(system, door, recorder, lambda line: say(f"{recorder.now_s():7.1f} s  {line}"))
            cycles = _disturb(plan, injector, recorder, say)
            injector.wait_until_all_run()
            recorder.history.healed_at_s = recorder.now_s()
            say(f"{recorder.now_s():7.1f} s  healed; the last orders end")
        finally:
            closing.set()
            finish_by = time.monotonic() + FINISH_S
            for shopper in shoppers:
                shopper.join(max(0.0, finish_by - time.monotonic()))
        injector.wait_until_healthy()
        return _judge(plan, system, recorder, cycles, say)


def _disturb(plan: Plan, injector: Injector, recorder: Recorder, say: Callable[[str], None]) -> int:
    time.sleep(WARM_UP_S)
    began_s = recorder.now_s()
    for done, fault in enumerate(schedule(plan.seed)):
        if plan.enough(done, recorder.now_s() - began_s):
            return done
        _, seen = recorder.counts()
        injector.strike(fault)
        time.sleep(fault.quiet_s)
        ends = sum(bool(exchange.end) for exchange in recorder.seen_since(seen))
        orders, _ = recorder.counts()
        say(f"{recorder.now_s():7.1f} s    {orders} orders so far, {ends} ends told since")
    raise AssertionError("a schedule has no end")


def _judge(plan: Plan, system: RunningSystem, recorder: Recorder, cycles: int, say: Callable[[str], None]) -> Verdict:
    history = recorder.history
    order_ids = {exchange.order_id for exchange in history.exchanges if exchange.order_id}
    say(f"{recorder.now_s():7.1f} s  {len(history.purchases)} purchases, {len(order_ids)} orders; gathering evidence")
    evidence = gather(system, order_ids, settle_s=END_S_MAX)
    history.save(system.data_directory / "history.json")
    (system.data_directory / "evidence.json").write_bytes(msgspec.json.encode(evidence))
    violations = check(history, evidence)
    too_little = ""
    if len(order_ids) < ORDERS_MIN:
        too_little = f"{len(order_ids)} orders, fewer than {ORDERS_MIN}"
    elif cycles < plan.cycles_min:
        too_little = f"{cycles} faults, fewer than {plan.cycles_min}"
    verdict = Verdict(len(order_ids), cycles, violations, longest_by_phase(history), too_little)
    for phase, gap in verdict.gaps.items():
        say(f"  longest gap {gap.length_s:6.2f} s at {gap.from_s:6.1f} s: {phase}")
    for violation in itertools.islice(violations, 50):
        say(f"  VIOLATION {violation}")
    if too_little:
        say(f"  this proves nothing: {too_little}")
    return verdict
