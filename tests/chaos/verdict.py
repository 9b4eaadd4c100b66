"""What a run has shown."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.checker import DOUBLE_CHARGES, LOSSES, OVERSALES, Rule, Violation
from tests.chaos.gaps import Gap
from tests.chaos.history import APPROVED, PENDING, REFUNDED, REJECTED

ORDERS_MIN = 200
# Without each of these the clients did not compete, or did not try everything.
HEARD_ALWAYS = (APPROVED, f"{REJECTED} out_of_stock", f"{REJECTED} payment_declined", PENDING, REFUNDED, "no answer")
VIOLATIONS_SHOWN_MAX = 50


@dataclass(frozen=True)
class Verdict:
    """`heard`: how often clients heard each kind of answer; `gaps`: the longest in the phase of each kind of fault."""

    orders: int
    fault_cycles: int
    violations: list[Violation]
    gaps: dict[str, Gap]
    heard: Counter[str]
    cycles_min: int
    # What did not come back after a fault, and ended the run; empty when all did.
    unrecovered: str = ""

    @property
    def longest_gap_s(self) -> float:
        """While one node of one of the three clusters was lost, killed, paused or cut off."""
        return max((gap.length_s for gap in self.gaps.values() if gap.one_node), default=0.0)

    @property
    def too_little(self) -> str:
        """Why the run proves nothing; empty when it does."""
        if self.orders < ORDERS_MIN:
            return f"{self.orders} orders, fewer than {ORDERS_MIN}"
        if self.fault_cycles < self.cycles_min:
            return f"{self.fault_cycles} faults, fewer than {self.cycles_min}"
        missing = [answer for answer in HEARD_ALWAYS if not self.heard[answer]]
        return f"no client ever heard: {', '.join(missing)}" if missing else ""

    @property
    def passed(self) -> bool:
        return not self.violations and not self.too_little and not self.unrecovered

    def report(self) -> Iterator[str]:
        """Lines for people."""
        for answer, count in self.heard.most_common():
            yield f"  {count:6} answers: {answer}"
        for phase, gap in self.gaps.items():
            yield f"  longest gap {gap.length_s:6.2f} s, from {gap.from_s:.1f} s: {phase}"
        for violation in itertools.islice(self.violations, VIOLATIONS_SHOWN_MAX):
            yield f"  VIOLATION {violation}"
        if self.unrecovered:
            yield f"  NOT RECOVERED: {self.unrecovered}"
        if self.too_little:
            yield f"  this proves nothing: {self.too_little}"

    def summary(self) -> str:
        """One JSON object."""

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
