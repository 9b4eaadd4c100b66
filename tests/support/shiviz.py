"""ShiViz's default parser and its rules, for tests of what we export."""

import json
import re
from dataclasses import dataclass

# As ShiViz has it, by the names of its groups.
_EVENT = re.compile(r"(?P<event>.*)\n(?P<host>\S*) (?P<clock>\{.*\})")


@dataclass(frozen=True)
class LoggedEvent:
    host: str
    text: str
    clock: dict[str, int]

    def happened_before(self, other: "LoggedEvent") -> bool:
        return self != other and self.clock[self.host] <= other.clock.get(self.host, 0)


def parse(log: str) -> list[LoggedEvent]:
    """The events in the log's order. Raises AssertionError for what ShiViz would refuse or draw wrong."""
    rest = _EVENT.sub("", log)
    assert not rest.strip(), f"no event: {rest!r}"
    events = [LoggedEvent(match["host"], match["event"], json.loads(match["clock"])) for match in _EVENT.finditer(log)]
    hosts = {event.host for event in events}
    for event in events:
        assert event.text.strip(), event
        assert event.clock.keys() <= hosts, f"{event} names hosts without events"
    for host in hosts:
        own = [event.clock[host] for event in events if event.host == host]
        assert own == list(range(1, len(own) + 1)), f"{host} counts {own}"
        highest = max(event.clock.get(host, 0) for event in events)
        assert highest == len(own), f"somebody knows {highest} events of {host}, which has {len(own)}"
    for number, event in enumerate(events):
        assert not any(later.happened_before(event) for later in events[number + 1 :]), f"{event} comes too early"
    return events
