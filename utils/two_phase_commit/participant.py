"""A participant of two-phase commit: what it answers, and when it holds, commits and releases what an order needs.

One record per order, about the highest attempt seen (that is the fence):

    (none) ──Prepare──▶ PREPARED ──Commit──▶ COMMITTED, for ever
       │ │                 ▲ └───Abort──▶ ABORTED
       │ └──▶ DECLINED     │ a higher Prepare releases the older hold first
       └────▶ BUSY ────────┘ the same Prepare again

Prepare below the fence, of an aborted attempt, or of one that holds something else: refused. Prepare at it: the same
answer again. Abort(a) raises the fence to a, ends what is prepared at or below it, and never touches a commit.
Commit(a) acts on exactly a.

The coordinators say below which position of the queue's log every order is finished. Such an order is answered as
finished, whatever is asked, and its record may be pruned.

Its answers carry its clock of the order, which ticks with each change of the record and with nothing else: a repeated
question finds the same clock. An acknowledgement carries all that has happened, since the record may be pruned
(utils.clocks.story).

Pure and generic: `Work` is what the business part has to know of an order, and nothing else of it is kept.
"""

import enum
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from utils.clocks.story import EVENTS_MAX, PackedClock, Story, last_clock, pack_clock, tell, unpack_clock
from utils.domain.order import Reason
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote, VoteKind
from utils.two_phase_commit.positions import Positions

Work = TypeVar("Work")
Work_contra = TypeVar("Work_contra", contravariant=True)


class Verdict(msgspec.Struct, frozen=True):
    """What the business part says to a Prepare: COMMIT (it holds what is needed), ABORT with reasons, or BUSY."""

    kind: VoteKind
    reasons: tuple[Reason, ...] = ()


class Business(Protocol[Work_contra]):
    """What is held, committed and released. Called once per transition: it needs no memory of repetitions."""

    def hold(self, attempt: Attempt, work: Work_contra) -> Verdict:
        """Takes hold of everything that the order needs, or of nothing."""

    def commit(self, attempt: Attempt, work: Work_contra) -> str:
        """Makes the hold final; returns a confirmation code, or an empty string."""

    def release(self, attempt: Attempt, work: Work_contra) -> None:
        """Gives the hold back."""


class Phase(enum.StrEnum):
    BUSY = "busy"
    PREPARED = "prepared"
    DECLINED = "declined"
    ABORTED = "aborted"
    COMMITTED = "committed"


_AFTER: Final[dict[Phase | None, frozenset[Phase]]] = {
    None: frozenset({Phase.BUSY, Phase.PREPARED, Phase.DECLINED, Phase.ABORTED}),
    Phase.BUSY: frozenset({Phase.BUSY, Phase.PREPARED, Phase.DECLINED, Phase.ABORTED}),
    Phase.PREPARED: frozenset({Phase.COMMITTED, Phase.ABORTED}),
    Phase.DECLINED: frozenset({Phase.BUSY, Phase.PREPARED, Phase.DECLINED, Phase.ABORTED}),
    Phase.ABORTED: frozenset({Phase.BUSY, Phase.PREPARED, Phase.DECLINED, Phase.ABORTED}),
    Phase.COMMITTED: frozenset(),
}


class IllegalTransitionError(Exception):
    """A record was about to move as the rules forbid: a defect, which must stop the process before it answers."""

    def __init__(self, before: "Record[Work] | None", after: "Record[Work]") -> None:
        super().__init__(f"{before and (before.attempt, before.phase)} cannot become {(after.attempt, after.phase)}")


class Record(msgspec.Struct, Generic[Work], frozen=True):
    """What is remembered of one order."""

    # The highest attempt seen; once committed, the committed one.
    attempt: Attempt
    phase: Phase
    # The order's index in the queue's log; 0 while nobody has said it.
    position: int
    # Only while prepared.
    work: Work | None = None
    # Only when declined.
    reasons: tuple[Reason, ...] = ()
    # Only when committed.
    confirmation_code: str = ""
    # What has happened to the order here; nothing for one that came without a clock.
    story: Story = ()


class Participant(Generic[Work]):
    """Its answers may leave only once the record that they speak of is durable."""

    def __init__(self, business: Business[Work], *, host: str) -> None:
        """`host`: whose events these are."""
        self._business = business
        self._host = host
        self._records: dict[str, Record[Work]] = {}
        self._prepared: dict[str, Attempt] = {}
        self._positions = Positions()
        self.finished_below = 0

    def restore(self, records: dict[str, Record[Work]], finished_below: int) -> None:
        """Replaces all that is remembered. The business part restores its holds itself."""
        self._records = records
        self._prepared = {
            order_id: record.attempt for order_id, record in records.items() if record.phase is Phase.PREPARED
        }
        self._positions = Positions((record.position, order_id) for order_id, record in records.items())
        self.finished_below = finished_below

    @property
    def records(self) -> dict[str, Record[Work]]:
        """By order id; not to be changed from outside."""
        return self._records

    @property
    def in_doubt(self) -> tuple[Attempt, ...]:
        """The attempts that are prepared, and whose decision is not known here."""
        return tuple(self._prepared.values())

    def finish_below(self, position: int) -> None:
        """Orders below this position of the queue's log are finished: they are never prepared again."""
        self.finished_below = max(self.finished_below, position)

    def prune(self) -> list[str]:
        """Drops the records of finished orders, and returns their ids.

        A hold among them contradicts the coordinators' word: it stays, and is asked about as any other.
        """
        pruned: list[str] = []
        for order_id in self._positions.take_below(self.finished_below):
            record = self._records.get(order_id)
            if record is not None and record.position and record.phase is not Phase.PREPARED:
                del self._records[order_id]
                pruned.append(order_id)
        return pruned

    def prepare(self, attempt: Attempt, position: int, work: Work, clock: PackedClock = b"") -> Vote:
        """The answer to a Prepare."""
        before = self._records.get(attempt.order_id)
        vote = self._vote(attempt, position, work)
        story = self._tell(attempt.order_id, before, clock)
        return msgspec.structs.replace(vote, clock=pack_clock(last_clock(story)))

    def decide(self, decision: Decision) -> Acknowledgement:
        """The answer to a decision. Not `done` is an alarm."""
        attempt = decision.attempt
        before = self._records.get(attempt.order_id)
        if before is None and 0 < decision.position < self.finished_below:
            return Acknowledgement(attempt, done=True, finished=True)
        answer = self._commit(attempt) if decision.commit else self._abort(attempt, decision.position)
        return msgspec.structs.replace(answer, story=self._tell(attempt.order_id, before, decision.clock))

    def _vote(self, attempt: Attempt, position: int, work: Work) -> Vote:
        if position < self.finished_below:
            return Vote(attempt, VoteKind.REFUSED)
        record = self._records.get(attempt.order_id)
        if record is not None:
            if record.phase is Phase.COMMITTED:
                return Vote(attempt, VoteKind.ALREADY_COMMITTED, other_attempt=record.attempt)
            if attempt < record.attempt or (attempt == record.attempt and record.phase is Phase.ABORTED):
                return Vote(attempt, VoteKind.REFUSED, other_attempt=record.attempt)
            if attempt == record.attempt and record.phase is Phase.PREPARED and work == record.work:
                return Vote(attempt, VoteKind.COMMIT)
            if attempt == record.attempt and record.phase is Phase.PREPARED:
                # Another content under the same number: what is held stays held, and this is no vote for it.
                return Vote(attempt, VoteKind.REFUSED, other_attempt=record.attempt)
            if attempt == record.attempt and record.phase is Phase.DECLINED:
                return Vote(attempt, VoteKind.ABORT, record.reasons)
            if record.phase is Phase.PREPARED:
                self._release(record)
        return self._hold(attempt, position, work)

    def _hold(self, attempt: Attempt, position: int, work: Work) -> Vote:
        verdict = self._business.hold(attempt, work)
        if verdict.kind is VoteKind.COMMIT:
            self._move(Record(attempt, Phase.PREPARED, position, work))
        elif verdict.kind is VoteKind.ABORT:
            self._move(Record(attempt, Phase.DECLINED, position, reasons=verdict.reasons))
        else:
            self._move(Record(attempt, Phase.BUSY, position))
        return Vote(attempt, verdict.kind, verdict.reasons)

    def _commit(self, attempt: Attempt) -> Acknowledgement:
        record = self._records.get(attempt.order_id)
        if record is None or record.attempt != attempt:
            return Acknowledgement(attempt, done=False)
        if record.phase is Phase.PREPARED:
            assert record.work is not None
            code = self._business.commit(attempt, record.work)
            record = Record(attempt, Phase.COMMITTED, record.position, confirmation_code=code)
            self._move(record)
        if record.phase is not Phase.COMMITTED:
            return Acknowledgement(attempt, done=False)
        return Acknowledgement(attempt, done=True, confirmation_code=record.confirmation_code)

    def _abort(self, attempt: Attempt, position: int) -> Acknowledgement:
        record = self._records.get(attempt.order_id)
        if record is not None and record.phase is Phase.COMMITTED:
            # An older attempt, or a newer one that was told of the commit, was given up. Only the abort of the
            # committed attempt itself contradicts what was decided.
            return Acknowledgement(attempt, done=attempt != record.attempt)
        if record is None:
            self._move(Record(attempt, Phase.ABORTED, position))
        elif attempt > record.attempt or (attempt == record.attempt and record.phase is not Phase.ABORTED):
            if record.phase is Phase.PREPARED:
                self._release(record)
            self._move(Record(attempt, Phase.ABORTED, record.position))
        return Acknowledgement(attempt, done=True)

    def _release(self, record: Record[Work]) -> None:
        assert record.work is not None
        self._business.release(record.attempt, record.work)
        self._move(Record(record.attempt, Phase.ABORTED, record.position))

    def _move(self, record: Record[Work]) -> None:
        order_id = record.attempt.order_id
        before = self._records.get(order_id)
        lower = before is not None and record.attempt < before.attempt
        if lower or record.phase not in _AFTER[before.phase if before else None]:
            raise IllegalTransitionError(before, record)
        if before is not None and before.story:
            record = msgspec.structs.replace(record, story=before.story)
        self._records[order_id] = record
        if record.position and not (before and before.position):
            self._positions.add(record.position, order_id)
        if record.phase is Phase.PREPARED:
            self._prepared[order_id] = record.attempt
        else:
            self._prepared.pop(order_id, None)

    def _tell(self, order_id: str, before: "Record[Work] | None", heard: PackedClock) -> Story:
        """The order's story after a message that brought `heard`, and found the record as `before`."""
        record = self._records.get(order_id)
        if record is None or not (heard or record.story):
            return ()
        if record != before:
            epoch, number = record.attempt.epoch, record.attempt.number
            clock = unpack_clock(heard)
            story = tell(record.story, self._host, record.phase.value, clock, epoch=epoch, number=number)
            self._records[order_id] = record = msgspec.structs.replace(record, story=story[-EVENTS_MAX:])
        return record.story
