"""What must hold in every state, and at every step of a participant."""

from collections.abc import Mapping, Set as AbstractSet
from typing import NamedTuple

from tests.model.words import DATABASE, OUT_OF_STOCK, PAYMENT, TROUBLE, LostDisk, Standing, ToParticipant
from utils.two_phase_commit.actions import Complete, OrderDecision, SendDecision, SendPrepare
from utils.two_phase_commit.messages import Acknowledgement, Vote, VoteKind


class Fault(NamedTuple):
    """Which promise is broken, and by what."""

    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


def check_participant(
    name: str,
    before: Mapping[str, Standing],
    after: Mapping[str, Standing],
    message: ToParticipant,
    answer: Vote | Acknowledgement | None,
    *,
    only_promises: bool,
) -> Fault | None:
    """One step of one participant."""
    if isinstance(message, SendDecision) and isinstance(answer, Acknowledgement):
        standing = after[message.decision.attempt.order_id]
        if answer.done and message.decision.commit and not standing.done:
            return Fault("no false acknowledgement", f"{name} acknowledges a commit that did not happen")
        if not answer.done and not only_promises:
            return Fault("no vote taken back", f"{name} cannot carry out a decision")
    if isinstance(message, SendPrepare) and isinstance(answer, Vote):
        standing = before[message.attempt.order_id]
        is_bound = standing.phase == "prepared" and standing.attempt == message.attempt
        if is_bound and answer.kind is not VoteKind.COMMIT and not only_promises:
            return Fault("no vote taken back", f"{name} voted commit, and now answers {answer.kind}")
    for order_id, standing in after.items():
        if standing.done < before[order_id].done and not isinstance(message, LostDisk):
            return Fault("committed for ever", f"{name} undoes a commit")
        if standing.done > 1:
            return Fault("charged once", f"{name} commits an order {standing.done} times")
        if standing.held != (standing.phase == "prepared") and not only_promises:
            return Fault(
                "nothing leaks", f"{name} holds {standing.held} for an order that is {standing.phase or 'new'}"
            )
    return None


def check_world(
    copies: int,
    decisions: Mapping[str, OrderDecision | None],
    finished: AbstractSet[str],
    results: Mapping[str, Complete | None],
    standings: Mapping[str, Mapping[str, Standing]],
    *,
    has_lost_disk: bool,
    only_promises: bool,
) -> Fault | None:
    """One state. A participant that lost its disk can only be asked to tell no lies."""
    for order_id, decision in decisions.items():
        for name, of in standings.items():
            if of[order_id].phase == "committed" and decision is not None and of[order_id].attempt != decision.attempt:
                return Fault("one decision", f"{name} has committed another attempt than was decided")
    if has_lost_disk:
        return None
    database = standings[DATABASE]
    if sum(standing.held + standing.done for standing in database.values()) > copies:
        return Fault("never oversold", "more copies are reserved and sold than there are")
    for order_id, decision in decisions.items():
        there = {name: of[order_id] for name, of in standings.items()}
        fault = (
            _check_atomic(there)
            or (None if only_promises else _check_decision(decision, there))
            or _check_reasons(decision, database)
            or _check_result(results[order_id], decision, there)
            or _check_end(there, is_finished=order_id in finished)
        )
        if fault is not None:
            return fault
    return None


def _check_atomic(there: Mapping[str, Standing]) -> Fault | None:
    committed = [name for name, standing in there.items() if standing.done]
    for name, standing in there.items():
        if committed and not standing.done and standing.phase != "prepared":
            state = standing.phase or "as if it had never heard of the order"
            return Fault("atomic", f"{committed[0]} has committed, and {name} is {state}")
    return None


def _check_decision(decision: OrderDecision | None, there: Mapping[str, Standing]) -> Fault | None:
    """Not promises, but what keeps them: beyond this, they break sooner or later."""
    for name, standing in there.items():
        if standing.done and (decision is None or not decision.commit):
            how = "rejected" if decision is not None else "not decided"
            return Fault("one decision", f"{name} has committed what is {how}")
        if decision is None or not decision.commit:
            continue
        if standing.attempt != decision.attempt or not (standing.done or standing.phase == "prepared"):
            of = "another attempt" if standing.attempt != decision.attempt else standing.phase
            return Fault("no vote taken back", f"COMMIT is decided, and what {name} has is {of}")
    return None


def _check_reasons(decision: OrderDecision | None, database: Mapping[str, Standing]) -> Fault | None:
    if decision is not None and not decision.commit:
        is_sold = any(standing.done for standing in database.values())
        if TROUBLE in decision.reasons or (OUT_OF_STOCK in decision.reasons and not is_sold):
            return Fault("says the truth", f"rejected for {decision.reasons[0].code}, and the copy is not sold")
    return None


def _check_result(
    result: Complete | None, decision: OrderDecision | None, there: Mapping[str, Standing]
) -> Fault | None:
    if result is None:
        return None
    if decision is None or decision.commit != result.approved:
        return Fault("one decision", "the queue is told what was not decided")
    for name, standing in there.items():
        if result.approved and not standing.done:
            return Fault("says the truth", f"the queue is told approved, and {name} has not committed")
    if result.approved and not result.confirmation_code:
        return Fault("says the truth", f"approved without the confirmation code of {PAYMENT}")
    return None


def _check_end(there: Mapping[str, Standing], *, is_finished: bool) -> Fault | None:
    for name, standing in there.items():
        if is_finished and standing.held:
            return Fault("nothing leaks", f"the order is finished, and {name} holds {standing.held} for it")
    return None
