"""How the end-to-end tests talk to the shop: A -> B -> D -> C -> E -> F is checked of every order that they hear of."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx

from bookstore.running import RunningSystem
from tests.e2e.waiting import eventually
from tests.support.shiviz import LoggedEvent, parse
from utils.verification.events import CAUSAL_ORDER, OWNER, SERVICES, SUGGESTIONS, Event, events_of

TIMEOUT_S = 60.0


@contextmanager
def shop_http(system: RunningSystem) -> Iterator[httpx.Client]:
    """At the orchestrator.

    A request raises AssertionError for an order whose clock lacks one of its events; so does the end for one whose
    exported events do not each happen before the next.
    """
    accepted = set()

    def check(response: httpx.Response) -> None:
        if (answer := checked(response)) is not None:
            accepted.add(answer["orderId"])

    client = httpx.Client(base_url=system.orchestrator_url, timeout=TIMEOUT_S, trust_env=False)
    with client as http:
        http.event_hooks = {"response": [check]}
        yield http
        for order_id in accepted:
            assert_each_happened_before_the_next(exported(http, order_id))


def exported(http: httpx.Client, order_id: str) -> list[LoggedEvent]:
    """The order's events with their clocks, as ShiViz would draw them; waits while nobody can tell them."""

    told: list[str] = []

    def is_told() -> bool:
        response = http.get(f"/v2/orders/{order_id}/clock", params={"format": "shiviz"})
        if response.status_code == 200:
            told.append(response.text)
        return bool(told)

    eventually(is_told, f"the clock of order {order_id} can be had")
    return parse(told[0])


def checked(response: httpx.Response) -> dict[str, Any] | None:
    """The answer, if it tells of an accepted order. Raises AssertionError if an event is not counted."""
    response.read()
    if response.headers.get("Content-Type") != "application/json":
        return None
    answer: dict[str, Any] = response.json()
    if not {"clock", "suggestedBooks"} <= answer.keys():
        return None
    assert_every_event_is_counted(answer)
    return answer


def assert_every_event_is_counted(answer: dict[str, Any]) -> None:
    """The order's clock counts each event once. Only F may be missing: then suggestions were late and are none."""
    clock = answer["clock"]
    counted = {service: clock.get(service, 0) for service in SERVICES}
    expected = {service: len(events_of(service)) for service in SERVICES}
    if not answer["suggestedBooks"]:
        expected[SUGGESTIONS] = min(counted[SUGGESTIONS], expected[SUGGESTIONS])
    assert counted == expected, f"order {answer['orderId']} has the clock {clock}"


def assert_each_happened_before_the_next(exported: list[LoggedEvent]) -> None:
    """By the vector clocks of the events themselves; without F where suggestions were late."""
    found = {
        event: [logged for logged in exported if (logged.host, logged.text[:1]) == (OWNER[event], event)]
        for event in CAUSAL_ORDER
    }
    chain = [logged for event in CAUSAL_ORDER for logged in found[event]]
    happened = [event for event in CAUSAL_ORDER if found[event]]
    assert happened in (list(CAUSAL_ORDER), list(CAUSAL_ORDER[: CAUSAL_ORDER.index(Event.F)])), happened
    assert len(chain) == len(happened), f"an event happened twice: {chain}"
    for earlier, later in pairwise(chain):
        assert earlier.happened_before(later), (earlier, later)
