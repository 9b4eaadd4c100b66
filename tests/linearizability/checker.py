"""Whether a history is linearizable: Wing & Gong's search with Lowe's memory of where it has been.

Wing and Gong, "Testing and verifying concurrent objects", JPDC 1993; Lowe, "Testing for linearizability", CCPE 2017.

Operations are put in an order that respects which ended before which began, one at a time, each as the next one that
the model allows. Where none fits, the last choice is taken back. Two ways to put the same operations in order that lead
to the same state are one: the second is not followed. Objects are checked one by one (linearizability is local).
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.linearizability.history import Operation

# Far above what a history of some thousand operations needs, unless something is wrong with it.
STEPS_MAX = 5_000_000


class Model(Protocol):
    """What one object does when it is used by one client at a time. States are immutable."""

    @property
    def initial(self) -> Hashable: ...

    def step(self, state: Any, call: Any, result: Any) -> Hashable | None:
        """The state after `call`, if it may have `result` in `state`; otherwise None. UNKNOWN is always possible."""


class UndecidedError(Exception):
    """The search was given up: the history is too concurrent to be judged, and proves nothing."""


@dataclass(frozen=True)
class Violation:
    """No order explains the history. Of the longest one: how many operations it explains, and which cannot follow."""

    explained: int
    state: Any
    stuck: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [f"{self.explained} operations can be put in order, up to {self.state!r}; none of these can follow:"]
        return "\n".join(lines + [f"  {operation}" for operation in self.stuck])


class _Event:
    """A call or a return in a doubly linked list, from which whatever has its place in the order is taken out."""

    __slots__ = ("answer", "following", "moment", "number", "operation", "previous")

    def __init__(self, number: int, operation: Operation, moment: int, answer: "_Event | None" = None) -> None:
        self.number = number
        self.operation = operation
        self.moment = moment
        # Of a call: its return, if it has one. None for returns.
        self.answer = answer
        self.previous: _Event | None = None
        self.following: _Event | None = None

    def take_out(self) -> None:
        if self.previous is not None:
            self.previous.following = self.following
        if self.following is not None:
            self.following.previous = self.previous

    def put_back(self) -> None:
        if self.previous is not None:
            self.previous.following = self
        if self.following is not None:
            self.following.previous = self


class _Search:
    """The operations that have no place in the order yet."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        events: list[_Event] = []
        self._unanswered: list[_Event] = []
        for number, operation in enumerate(operations):
            if operation.returned_at is None:
                self._unanswered.append(_Event(number, operation, operation.called_at))
            else:
                answer = _Event(number, operation, operation.returned_at)
                events += (_Event(number, operation, operation.called_at, answer), answer)
        self._head = last = _Event(-1, Operation("", None, -1), -1)
        self._unanswered.sort(key=lambda event: event.moment)
        for event in sorted(events, key=lambda event: event.moment):
            last.following, event.previous = event, last
            last = event

    @property
    def is_over(self) -> bool:
        """Those that nobody answered may be left out."""
        return self._head.following is None

    def candidates(self, chosen: int) -> Iterator[_Event]:
        """Which could come next: whatever was called before the first return.

        Those that nobody answered come last: most of them had no effect, or not yet. Of those that are alike only the
        first is tried, as nobody can tell which it was.
        """
        event = self._head.following
        while event is not None and event.answer is not None:
            yield event
            event = event.following
        tried: set[Any] = set()
        for one in self._unanswered:
            if event is None or one.moment > event.moment:
                return
            if not chosen >> one.number & 1 and one.operation.call not in tried:
                tried.add(one.operation.call)
                yield one


def check(model: Model, operations: Sequence[Operation], *, steps_max: int = STEPS_MAX) -> Violation | None:
    """None if the history is linearizable. Raises UndecidedError after `steps_max` steps."""
    search = _Search(operations)
    state: Any = model.initial
    chosen = 0
    seen: set[tuple[int, Hashable]] = set()
    path: list[tuple[_Event, Any, Iterator[_Event]]] = []
    longest: Violation | None = None
    candidates = search.candidates(chosen)
    for _ in range(steps_max):
        if search.is_over:
            return None
        event = next(candidates, None)
        if event is not None:
            following = model.step(state, event.operation.call, event.operation.result)
            place = (chosen | 1 << event.number, following)
            # Without an answer, to have had no effect and to be left out is the same.
            is_in_vain = event.answer is None and following == state
            if following is not None and place not in seen and not is_in_vain:
                seen.add(place)
                path.append((event, state, candidates))
                chosen, state = place
                if event.answer is not None:
                    event.answer.take_out()
                    event.take_out()
                candidates = search.candidates(chosen)
            continue
        if longest is None or len(path) > longest.explained:
            stuck = tuple(candidate.operation for candidate in search.candidates(chosen))
            longest = Violation(len(path), state, stuck)
        if not path:
            return longest
        event, state, candidates = path.pop()
        chosen &= ~(1 << event.number)
        if event.answer is not None:
            event.put_back()
            event.answer.put_back()
    raise UndecidedError(f"{len(operations)} operations are not judged after {steps_max} steps")
