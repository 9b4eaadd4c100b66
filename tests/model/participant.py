"""A participant as the model has it: the fence, and how much of its resource each order holds and has used.

Independent of `utils.two_phase_commit.participant`. The resource is a number: copies of one book, one for each order,
or authorisations, of which there are enough for everybody but the orders that are declined.
"""

from typing import NamedTuple, TypeAlias

from tests.model.rules import Rule
from tests.model.words import DATABASE, DECLINED, NOTHING, OUT_OF_STOCK, LostDisk, PowerCut, Standing, ToParticipant
from utils.domain.order import Reason
from utils.two_phase_commit.actions import SendDecision, SendPrepare
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Vote, VoteKind

# By order, in the orders' order.
State: TypeAlias = tuple[Standing, ...]


class Resource(NamedTuple):
    """What a participant has for orders. `declined`: the orders that it will always refuse."""

    name: str
    order_ids: tuple[str, ...]
    copies: int
    declined: frozenset[str] = frozenset()

    @property
    def reason(self) -> Reason:
        return OUT_OF_STOCK if self.name == DATABASE else DECLINED


class ModelParticipant:
    def __init__(self, resource: Resource, without: frozenset[Rule] = frozenset()) -> None:
        self._resource = resource
        self._without = without

    def initial(self) -> State:
        return (NOTHING,) * len(self._resource.order_ids)

    def standings(self, state: State) -> State:
        return state

    def step(self, state: State, message: ToParticipant) -> tuple[State, Vote | Acknowledgement | None]:
        match message:
            case LostDisk():
                return self.initial(), None
            case PowerCut():
                return tuple(map(self._after_power_cut, state)), None
        attempt = message.attempt if isinstance(message, SendPrepare) else message.decision.attempt
        at = self._resource.order_ids.index(attempt.order_id)
        answer: Vote | Acknowledgement
        match message:
            case SendPrepare():
                standing, answer = self._prepare(state, at, attempt)
            case SendDecision() if message.decision.commit:
                standing, answer = self._commit(state[at], attempt)
            case SendDecision():
                standing, answer = self._abort(state[at], attempt)
        return (*state[:at], standing, *state[at + 1 :]), answer

    def _prepare(self, state: State, at: int, attempt: Attempt) -> tuple[Standing, Vote]:
        standing = state[at]
        if standing.phase == "committed":
            return standing, Vote(attempt, VoteKind.ALREADY_COMMITTED, other_attempt=standing.attempt)
        is_lower = standing.attempt is not None and self._is_below(attempt, standing.attempt)
        if (is_lower and Rule.LOWER_PREPARE_IS_REFUSED not in self._without) or (
            attempt == standing.attempt and standing.phase == "aborted"
        ):
            return standing, Vote(attempt, VoteKind.REFUSED, other_attempt=standing.attempt)
        if attempt == standing.attempt and Rule.SAME_PREPARE_SAME_ANSWER not in self._without:
            if standing.phase == "prepared":
                return standing, Vote(attempt, VoteKind.COMMIT)
            if standing.phase == "declined":
                return standing, Vote(attempt, VoteKind.ABORT, (self._resource.reason,))
        is_other = attempt != standing.attempt
        if is_other and standing.phase == "prepared" and Rule.HIGHER_PREPARE_RELEASES not in self._without:
            standing = standing._replace(held=0)
        return self._hold(standing, (*state[:at], standing, *state[at + 1 :]), attempt)

    def _hold(self, standing: Standing, state: State, attempt: Attempt) -> tuple[Standing, Vote]:
        standing = standing._replace(attempt=attempt)
        left = self._resource.copies - sum(other.done for other in state)
        free = left - sum(other.held for other in state)
        if Rule.BUSY_IS_NO_NO in self._without:
            left = free
        if left < 1 or attempt.order_id in self._resource.declined:
            declined = standing._replace(phase="declined")
            return declined, Vote(attempt, VoteKind.ABORT, (self._resource.reason,))
        if free < 1:
            return standing._replace(phase="busy"), Vote(attempt, VoteKind.BUSY)
        return standing._replace(phase="prepared", held=standing.held + 1), Vote(attempt, VoteKind.COMMIT)

    def _commit(self, standing: Standing, attempt: Attempt) -> tuple[Standing, Acknowledgement]:
        is_it = attempt == standing.attempt or Rule.COMMIT_IS_OF_ONE_ATTEMPT in self._without
        if standing.phase == "prepared" and is_it:
            done = standing._replace(phase="committed", held=standing.held - 1, done=standing.done + 1)
            if Rule.COMMITTED_IS_REMEMBERED in self._without:
                done = NOTHING._replace(held=done.held, done=done.done)
            return done, self._acknowledge(attempt)
        if standing.phase == "committed" and is_it:
            return standing, self._acknowledge(attempt)
        if Rule.UNPREPARED_COMMIT_IS_AN_ALARM in self._without:
            return standing, self._acknowledge(attempt)
        return standing, Acknowledgement(attempt, done=False)

    def _abort(self, standing: Standing, attempt: Attempt) -> tuple[Standing, Acknowledgement]:
        acknowledgement = Acknowledgement(attempt, done=True)
        if standing.phase == "committed":
            if Rule.ABORT_SPARES_A_COMMIT in self._without:
                return Standing(standing.attempt, "aborted"), acknowledgement
            return standing, Acknowledgement(attempt, done=attempt != standing.attempt)
        is_later = standing.attempt is not None and self._is_below(attempt, standing.attempt)
        if is_later and Rule.ABORT_STOPS_AT_ITS_ATTEMPT not in self._without:
            return standing, acknowledgement
        if Rule.ABORT_LEAVES_A_MARK in self._without:
            return NOTHING._replace(done=standing.done), acknowledgement
        mark = standing.attempt if is_later else attempt
        return Standing(mark, "aborted", done=standing.done), acknowledgement

    def _acknowledge(self, attempt: Attempt) -> Acknowledgement:
        return Acknowledgement(attempt, True, "" if self._resource.name == DATABASE else code_of(attempt))

    def _is_below(self, attempt: Attempt, other: Attempt) -> bool:
        if Rule.ATTEMPTS_COMPARE_AS_NUMBERS in self._without:
            return f"{attempt.epoch}.{attempt.number}" < f"{other.epoch}.{other.number}"
        return attempt < other

    def _after_power_cut(self, standing: Standing) -> Standing:
        if Rule.VOTES_ARE_DURABLE in self._without and standing.phase == "prepared":
            return NOTHING._replace(done=standing.done)
        return standing


def code_of(attempt: Attempt) -> str:
    return f"code of {attempt.epoch}.{attempt.number}"
