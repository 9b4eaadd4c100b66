"""An order's story: what the parts of the system tell, and what clients are answered (utils/api/bookstore.yaml)."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from orchestrator.answers import reason_answer, refund_answer
from orchestrator.ports import OrderRecord, OrderState
from utils.clocks.shiviz import in_causal_order, shiviz_log
from utils.clocks.story import DATABASE, ORDER_EXECUTOR, PAYMENT, Event

PARTICIPANTS: Final = (DATABASE, PAYMENT)
# What a participant's event says of an attempt, as a vote.
_VOTES: Final = {"prepared": "commit", "declined": "abort", "busy": "busy"}
# What a decision makes of an attempt, at each participant.
_DECISIONS: Final = {"commit decided": "committed", "reject decided": "aborted"}
_TEXTS: Final = {
    "received": "checkout received",
    "A": "A: items checked",
    "B": "B: user data checked",
    "C": "C: means of payment checked",
    "D": "D: user checked for fraud",
    "E": "E: means of payment checked for fraud",
    "F": "F: books suggested",
}

Attempt = tuple[int, int]


class Claim(msgspec.Struct, frozen=True):
    executor: str
    epoch: int


class OrderStory(msgspec.Struct, frozen=True):
    """What every part says of one order, at about the same time."""

    record: OrderRecord
    # The order's index in the queue's log.
    position: int
    events: tuple[Event, ...]
    claim: Claim | None = None
    # Of the executors' leader, for an order that is not decided: the attempt that it is at.
    under_way: Attempt | None = None
    # By part that did not answer: why. The queue has everything of an order that has ended.
    missing: Mapping[str, str] = {}

    @property
    def decided(self) -> Event | None:
        """The event of the decision."""
        return next((event for event in self.events if event.name in _DECISIONS), None)

    def delivered(self, participant: str) -> str:
        """How the participant carried the decision out; "" as long as it has not."""
        if (decided := self.decided) is None:
            return ""
        ends = [event for event in self.events if event.host == participant and event.name == _DECISIONS[decided.name]]
        # A rejection ends every attempt up to that of its time.
        return ends[-1].name if ends and _attempt_of(ends[-1]) >= _attempt_of(decided) else ""


class Stories(Protocol):
    def story(self, order_id: str) -> OrderStory:
        """Raises OrderNotFound and ComponentUnavailable."""


def trace_answer(story: OrderStory) -> dict[str, Any]:
    """Trace."""
    record = story.record
    answer: dict[str, Any] = {
        "orderId": record.order_id,
        "status": str(record.state),
        "reasons": [reason_answer(reason) for reason in record.reasons],
        "queue": {
            "position": story.position,
            "claim": msgspec.to_builtins(story.claim),
            "ended": record.state is not OrderState.PENDING,
        },
        "attempts": [_attempt(story, attempt) for attempt in _attempts(story)],
        "decision": _decision(story),
        "deliveries": {name: end for name in PARTICIPANTS if (end := story.delivered(name))},
        "pending": _pending(story),
        "unrecorded": _unrecorded(story),
        **_events(story),
    }
    if record.confirmation_code:
        answer["confirmationCode"] = record.confirmation_code
    if record.refund is not None:
        answer["refund"] = refund_answer(record.refund)
    return answer


def clock_answer(story: OrderStory) -> dict[str, Any]:
    """OrderClock."""
    return {"orderId": story.record.order_id, **_events(story)}


def shiviz_answer(story: OrderStory) -> str:
    """For ShiViz's default parser."""
    return shiviz_log(story.events, _text)


def _events(story: OrderStory) -> dict[str, Any]:
    return {
        "events": [_event(event) for event in in_causal_order(story.events)],
        "missing": [{"part": part, "why": why} for part, why in story.missing.items()],
    }


def _event(event: Event) -> dict[str, Any]:
    answer: dict[str, Any] = {"host": event.host, "event": event.name, "clock": event.clock.entries}
    if event.number:
        answer["attempt"] = _number((event.epoch, event.number))
    elif event.epoch:
        answer["epoch"] = event.epoch
    return answer


def _text(event: Event) -> str:
    name = _TEXTS.get(event.name, event.name)
    return f"{name} (attempt {event.epoch}.{event.number})" if event.number else name


def _number(attempt: Attempt) -> dict[str, int]:
    epoch, number = attempt
    return {"epoch": epoch, "number": number}


def _attempt_of(event: Event) -> Attempt:
    return event.epoch, event.number


def _decision(story: OrderStory) -> dict[str, Any] | None:
    if (decided := story.decided) is None:
        return None
    return {"commit": _DECISIONS[decided.name] == "committed", "attempt": _number(_attempt_of(decided))}


def _attempts(story: OrderStory) -> list[Attempt]:
    known = {_attempt_of(event) for event in story.events if event.number}
    return sorted(known | ({story.under_way} if story.under_way else set()))


def _attempt(story: OrderStory, attempt: Attempt) -> dict[str, Any]:
    events = [event for event in story.events if _attempt_of(event) == attempt]
    if story.decided is not None and attempt == _attempt_of(story.decided):
        state = _DECISIONS[story.decided.name]
    else:
        state = "under way" if attempt == story.under_way else "given up"
    return {
        **_number(attempt),
        "state": state,
        "votes": {event.host: _VOTES[event.name] for event in events if event.name in _VOTES},
    }


def _pending(story: OrderStory) -> list[str]:
    """What has still to happen, as far as the parts that answered know."""
    if story.record.state is not OrderState.PENDING:
        refund = story.record.refund
        return ["an executor carries the refund out"] if refund is not None and not refund.refund_code else []
    pending: list[str] = []
    if story.decided is not None:
        waiting = [name for name in PARTICIPANTS if not story.delivered(name) and name not in story.missing]
        pending += [f"{name} carries the decision out" for name in waiting]
    elif story.under_way is not None:
        epoch, number = story.under_way
        pending.append(f"attempt {epoch}.{number} is decided")
    elif ORDER_EXECUTOR not in story.missing:
        pending.append("an executor takes the order")
    return [*pending, "the queue hears the result"]


def _unrecorded(story: OrderStory) -> list[str]:
    """What happened, or must have, and is kept nowhere."""
    unrecorded: list[str] = []
    begun = {_attempt_of(event) for event in story.events if event.host == ORDER_EXECUTOR}
    if ORDER_EXECUTOR not in story.missing:
        unrecorded += [
            f"the beginning of attempt {epoch}.{number}: only its leader knew of it"
            for epoch, number in _attempts(story)
            if (epoch, number) not in begun
        ]
    for name in PARTICIPANTS:
        counts = [event.clock[name] for event in story.events if event.host == name]
        if counts and (lost := max(counts) - len(counts)):
            unrecorded.append(f"the first {lost} events of {name}: it keeps the latest")
    if story.record.order is not None and story.claim is None:
        unrecorded.append("which executor claimed the order: only the queue's leader of that time knew")
    return unrecorded
