"""How the end-to-end tests talk to the shop: every answer that tells of an accepted order is checked on its way."""

from typing import Any

import httpx

from bookstore.running import RunningSystem
from utils.verification.events import SERVICES, SUGGESTIONS, events_of

TIMEOUT_S = 60.0


def shop_http(system: RunningSystem) -> httpx.Client:
    """At the orchestrator. A request raises AssertionError for an order whose clock lacks one of its events A to F."""
    return httpx.Client(
        base_url=system.orchestrator_url, timeout=TIMEOUT_S, trust_env=False, event_hooks={"response": [check]}
    )


def check(response: httpx.Response) -> None:
    """No answer about an order goes unchecked: see `assert_every_event_is_counted`."""
    response.read()
    if response.headers.get("Content-Type") == "application/json" and "clock" in (answer := response.json()):
        assert_every_event_is_counted(answer)


def assert_every_event_is_counted(answer: dict[str, Any]) -> None:
    """The order's exported clock counts A -> B -> D -> C -> E -> F, each once.

    No event happens before the one that it waits for, so the clock with F has seen the whole chain. Only F may be
    missing: then suggestions were late, and nothing is suggested.
    """
    clock = answer["clock"]
    counted = {service: clock.get(service, 0) for service in SERVICES}
    expected = {service: len(events_of(service)) for service in SERVICES}
    if not answer["suggestedBooks"]:
        expected[SUGGESTIONS] = min(counted[SUGGESTIONS], expected[SUGGESTIONS])
    assert counted == expected, f"order {answer['orderId']} has the clock {clock}"
