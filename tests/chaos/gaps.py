"""The longest time in which orders were pending and none ended, as clients saw it."""

from collections import defaultdict

import msgspec

from tests.chaos.history import History

_CALM = "no fault yet"


class Gap(msgspec.Struct, frozen=True):
    """From the last end, or from the first order that was pending after a time without any, to the next end."""

    from_s: float
    until_s: float
    # The phase in which it was longest.
    phase: str
    one_node: bool

    @property
    def length_s(self) -> float:
        return self.until_s - self.from_s


def gaps(history: History) -> list[Gap]:
    """Every gap. An order is pending from the first answer that says it is kept to the first that tells its end."""
    kept_at_s: dict[str, float] = {}
    ended_at_s: dict[str, float] = {}
    for exchange in history.exchanges:
        if exchange.accepted:
            kept_at_s[exchange.key] = min(exchange.answered_at_s, kept_at_s.get(exchange.key, exchange.answered_at_s))
        if exchange.end:
            ended_at_s[exchange.key] = min(exchange.answered_at_s, ended_at_s.get(exchange.key, exchange.answered_at_s))
    last_s = max((exchange.answered_at_s for exchange in history.exchanges), default=0.0)
    # At one moment, orders are kept before others end.
    moments = sorted(
        [(at_s, 0, key) for key, at_s in kept_at_s.items()] + [(at_s, 1, key) for key, at_s in ended_at_s.items()]
    )
    found: list[Gap] = []
    pending: set[str] = set()
    since_s = 0.0
    for at_s, is_end, key in moments:
        if is_end:
            # An order whose end is the first that its client hears was pending too, but nobody knew since when.
            if pending:
                found.append(_gap(history, since_s, at_s))
            pending.discard(key)
            since_s = at_s
        else:
            if not pending:
                since_s = at_s
            pending.add(key)
    if pending:
        found.append(_gap(history, since_s, last_s))
    return found


def longest_by_phase(history: History) -> dict[str, Gap]:
    """The longest gap of each kind of fault, longest first."""
    of_phase: dict[str, list[Gap]] = defaultdict(list)
    for gap in gaps(history):
        of_phase[gap.phase].append(gap)
    longest = {phase: max(found, key=lambda gap: gap.length_s) for phase, found in of_phase.items()}
    return dict(sorted(longest.items(), key=lambda item: -item[1].length_s))


def _gap(history: History, from_s: float, until_s: float) -> Gap:
    """Belongs to the fault in whose phase most of it lies."""
    phase, one_node, most_s = _CALM, False, 0.0
    phases = history.disturbances
    for number, disturbance in enumerate(phases):
        ends_s = phases[number + 1].from_s if number + 1 < len(phases) else float("inf")
        shared_s = min(until_s, ends_s) - max(from_s, disturbance.from_s)
        if shared_s > most_s:
            phase, one_node, most_s = disturbance.what, disturbance.one_node, shared_s
    return Gap(from_s, until_s, phase, one_node)
