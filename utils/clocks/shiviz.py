"""A story in the form that ShiViz draws (https://bestchai.bitbucket.io/shiviz), by its default parser.

Two lines for each event: its text, then `host {clock}`, the clock as JSON. A host counts its own events 1, 2, ... and
every host that a clock names has events.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable

import msgspec

from utils.clocks.story import Event
from utils.clocks.vector_clock import VectorClock


def in_causal_order(events: Iterable[Event]) -> list[Event]:
    """The same events, each after all that happened before it, with clocks that count these events and no others.

    What happened before what stays as it was. Counts need not have been contiguous: an event may be lost with the
    process that alone knew of it, and each leader of a cluster counts from a number of its own.
    """
    told = {(event.host, event.clock[event.host]): event for event in events}
    counts: dict[str, list[int]] = {}
    for host, count in sorted(told):
        counts.setdefault(host, []).append(count)
    recounted = [msgspec.structs.replace(event, clock=_recounted(event.clock, counts)) for event in told.values()]
    # Of two events the earlier one counts less, and nothing more.
    return sorted(recounted, key=lambda event: (sum(event.clock.entries.values()), event.host))


def shiviz_log(events: Iterable[Event], text: Callable[[Event], str]) -> str:
    """The log; `text` describes an event in one line, and a host's name holds no blank."""
    return "".join(
        f"{text(event)}\n{event.host} {json.dumps(event.clock.entries)}\n" for event in in_causal_order(events)
    )


def _recounted(clock: VectorClock, counts: dict[str, list[int]]) -> VectorClock:
    return VectorClock({host: bisect_right(known, clock[host]) for host, known in counts.items()})
