"""One chaos run: a system of its own, clients that order, faults by schedule, healing, and the verdict."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.chaos.checker import END_S_MAX, check
from tests.chaos.evidence import Evidence
from tests.chaos.gaps import longest_by_phase
from tests.chaos.history import REFUNDED, Exchange, History, Recorder
from tests.chaos.injector import Injector
from tests.chaos.machines import Machines
from tests.chaos.observer import Observer
from tests.chaos.refunder import Refunder
from tests.chaos.schedule import Fault, schedule
from tests.chaos.shelf import Shelf
from tests.chaos.shop_door import ShopDoor
from tests.chaos.shopper import Shopper
from tests.chaos.verdict import Verdict

SHOPPERS = 16
# A run with fewer faults has proved nothing.
SECONDS_PER_CYCLE_MAX = 30.0
WARM_UP_S = 3.0
# A shopper may wait for an answer that long past the time in which every order must have ended.
FINISH_S = END_S_MAX + 60.0
# After a fault; longer than any order may take.
CALM_TIMEOUT_S = END_S_MAX + 10.0
EDITIONS_PER_MINUTE = 12
# Luck has no place here: what a client may expect follows from how it pays.
LUCK = {"PAYMENT_CARD_SUCCESS_RATE": "1", "PAYMENT_BANK_SUCCESS_RATE": "0"}


@dataclass(frozen=True)
class Plan:
    """Until `cycles` faults are over, or, where that is None, until `seconds` are. `where`: the option that says it."""

    seed: int
    seconds: float
    cycles: int | None = None
    where: str = ""

    def enough(self, done: int, elapsed_s: float) -> bool:
        return elapsed_s >= self.seconds if self.cycles is None else done >= self.cycles

    @property
    def cycles_min(self) -> int:
        return int(self.seconds / SECONDS_PER_CYCLE_MAX) if self.cycles is None else self.cycles

    @property
    def command(self) -> str:
        """What replays it."""
        length = f"--seconds {self.seconds:.0f}" if self.cycles is None else f"--cycles {self.cycles}"
        where = f" {self.where}" if self.where else ""
        return f"python -m tests.chaos{where} --seed {self.seed} {length}"


def new_seed() -> int:
    return secrets.randbelow(10**9)


def run(plan: Plan, machines: Machines, directory: Path, say: Callable[[str], None]) -> Verdict:
    """Plays `plan`; history and evidence are in `directory` afterwards."""
    say(f"seed {plan.seed}; replay with: {plan.command}")
    return play(plan, schedule(plan.seed, machines.harms.keys()), machines, directory, say)


def play(
    plan: Plan, faults: Iterator[Fault], machines: Machines, directory: Path, say: Callable[[str], None]
) -> Verdict:
    """Plays `faults` for as long as `plan` says."""
    with Observer(machines) as observer:
        expected_s = plan.seconds if plan.cycles is None else plan.cycles * SECONDS_PER_CYCLE_MAX
        shelf = Shelf(editions=5 + int(expected_s / 60 * EDITIONS_PER_MINUTE), seed=plan.seed)
        observer.stock_the_shelf(shelf.copies(), shelf.prices_cents())
        before = observer.gather(set(), settle_s=END_S_MAX)
        recorder = Recorder({title: shelved.copies for title, shelved in before.shelf.items()})
        door = ShopDoor(machines.shop_port, recorder)
        closing = threading.Event()
        shoppers = [Shopper(plan.seed + number, shelf, door, recorder, closing) for number in range(SHOPPERS)]
        refunder = Refunder(plan.seed, observer.refund, recorder, closing)
        clients: tuple[Shopper | Refunder, ...] = (*shoppers, refunder)
        for client in clients:
            client.start()
        try:
            injector = Injector(
                machines,
                observer=observer,
                door=door,
                recorder=recorder,
                say=lambda line: say(f"{recorder.now_s():7.1f} s  {line}"),
            )
            unrecovered = _why_not(lambda: _disturb(plan, faults, injector, recorder, say))
            unrecovered = unrecovered or _why_not(injector.wait_until_running)
            recorder.history.healed_at_s = recorder.now_s()
            say(f"{recorder.now_s():7.1f} s  {unrecovered or 'healed'}; the last orders end")
        finally:
            closing.set()
            finish_by = time.monotonic() + FINISH_S
            for client in clients:
                client.join(max(0.0, finish_by - time.monotonic()))
            door.close()
        unrecovered = unrecovered or _why_not(injector.wait_until_healthy)
        history = recorder.history
        evidence = observer.gather(history.order_ids(), settle_s=END_S_MAX).since(before)
    history.save(directory / "history.json")
    (directory / "evidence.json").write_bytes(msgspec.json.encode(evidence))
    verdict = _judge(plan, history, evidence, unrecovered)
    for line in verdict.report():
        say(line)
    return verdict


def _disturb(
    plan: Plan, faults: Iterator[Fault], injector: Injector, recorder: Recorder, say: Callable[[str], None]
) -> None:
    """Raises TimeoutError when something does not recover."""
    time.sleep(WARM_UP_S)
    began_s = recorder.now_s()
    for done, fault in enumerate(faults, 1):
        _, seen = recorder.counts()
        injector.strike(fault)
        calm = recorder.wait_for_ends(fault.calm_orders, CALM_TIMEOUT_S)
        ends = sum(bool(exchange.end) for exchange in recorder.seen_since(seen))
        orders, _ = recorder.counts()
        say(
            f"{recorder.now_s():7.1f} s    {orders} orders so far, {ends} ends told since"
            + ("" if calm else f"; fewer than {fault.calm_orders} new orders ended in {CALM_TIMEOUT_S:.0f} s")
        )
        if plan.enough(done, recorder.now_s() - began_s):
            return
    raise AssertionError("fewer faults than planned")


def _why_not(wait: Callable[[], None]) -> str:
    """What was waited for in vain; empty when it came."""
    try:
        wait()
    except TimeoutError as error:
        return str(error)
    return ""


def _judge(plan: Plan, history: History, evidence: Evidence, unrecovered: str) -> Verdict:
    return Verdict(
        orders=len(history.order_ids()),
        fault_cycles=len(history.disturbances),
        violations=check(history, evidence),
        gaps=longest_by_phase(history),
        heard=Counter(map(_what_was_heard, history.exchanges)) + Counter({REFUNDED: _refunded(history)}),
        cycles_min=plan.cycles_min,
        unrecovered=unrecovered,
    )


def _refunded(history: History) -> int:
    return sum(bool(refund.codes) for refund in history.refunds.values())


def _what_was_heard(exchange: Exchange) -> str:
    if exchange.end:
        return " ".join((exchange.end, *exchange.reason_codes))
    return exchange.error_code or exchange.order_status or "no answer"
