"""All nodes, the network between them and the log under them, as one state; and every step that it can take.

The network is a set of messages that stays deliverable: to lose one is never to deliver it, to double one is to deliver
it again, and order is whatever the explorer chooses. What a dead leader does is nothing, from any moment on; a deposed
one goes on for as long as the explorer likes.

The executors' log is what Raft promises of it: an entry proposed by the leader of an epoch is committed while no later
leader has its own no-op, or never. Electing the next leader stands for that no-op.

States of nodes and messages are numbered as they are met, so that a state of the world is a few small numbers, and a
node is asked only once what it makes of a message: that is what makes millions of states affordable.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.model.parts import Parts
from tests.model.promises import Fault, check_participant, check_world
from tests.model.rules import Rule
from tests.model.trace import line
from tests.model.words import (
    DATABASE,
    EPOCHS,
    HEALED_EPOCH,
    PARTICIPANTS,
    PAYMENT,
    Acknowledged,
    Ask,
    Completed,
    Finished,
    HandOut,
    LostDisk,
    Message,
    PowerCut,
    Recorded,
    Silence,
    Unknown,
    Voted,
    plain,
)
from utils.two_phase_commit.actions import (
    Action,
    Alarm,
    Complete,
    Propose,
    RecordAsFinished,
    SendDecision,
    SendPrepare,
    TryAgain,
)
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, ResolutionKind, Vote, VoteKind

# Attempts that a leader may use when everything is healed.
HEALED_ATTEMPTS = 5


@dataclass(frozen=True)
class Scenario:
    """What is explored. `attempts`: how many each leader may start, by order."""

    name: str
    leaders: int = 2
    attempts: tuple[int, ...] = (2,)
    # Orders, by number, that payment declines; all others it accepts.
    declined: tuple[int, ...] = ()
    has_power_cuts: bool = False
    has_lost_disk: bool = False
    copies: int = 1

    @property
    def order_ids(self) -> tuple[str, ...]:
        return tuple(f"{number:032x}" for number in range(1, len(self.attempts) + 1))

    @property
    def declined_ids(self) -> frozenset[str]:
        return frozenset(self.order_ids[number - 1] for number in self.declined)


class Leader(NamedTuple):
    """`log`: the state of the log as this leader has applied it. An order's coordinator waits for at most one of
    Completed and Finished at a time, whose answers a runtime gives only to who asked."""

    epoch: int
    log: Any
    # By order: the coordinator's state and whether it waits for `Completed` or `Finished`; None: not in hand.
    orders: tuple[Any, ...]


class GivenUp(NamedTuple):
    """A coordinator after the last attempt that the scenario allows: it only remembers that."""

    attempt: Attempt


class Ended(NamedTuple):
    """A coordinator that has finished. The queue, which has the result, hands it to this leader no more."""


class State(NamedTuple):
    """By number. `leaders`: in the order of their epochs; the last one is the only one whose proposals count."""

    log: int
    queue: int
    database: int
    payment: int
    leaders: tuple[int, ...]
    # A set of messages, as bits.
    messages: int


class Step(NamedTuple):
    """`actor` is a participant's name, `log`, `queue`, `elect`, or the epoch of a leader. `message`: its number."""

    actor: str | int
    message: int


class _Numbers:
    """Gives equal values the same number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, value: Hashable) -> int:
        if (number := self._numbers.get(value)) is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


# What a node makes of a message: its next state, what it sends, and what is wrong with that.
_Outcome = tuple[int, int, Fault | None]


class World:
    def __init__(
        self,
        scenario: Scenario,
        parts: Parts,
        without: frozenset[Rule] = frozenset(),
        *,
        only_promises: bool = False,
    ) -> None:
        """`only_promises`: a state in which a promise cannot be kept any more passes for as long as it is kept."""
        self.scenario = scenario
        self._only_promises = only_promises
        self._parts = parts
        self._without = without
        self._order_ids = scenario.order_ids
        self._messages = _Numbers()
        self._addressees: list[str | int] = []
        # Whose state says whether the message is still of use.
        self._matters_to: list[str | int] = []
        self._states: dict[str | int, _Numbers] = {
            name: _Numbers() for name in ("log", "queue", "leader", *PARTICIPANTS)
        }
        self._outcomes: dict[tuple[str | int, int, int], _Outcome] = {}
        # By message, the state of its reader, and leaders: whether it is live.
        self._lives: dict[tuple[int, int, tuple[int, ...]], bool] = {}
        self._checked: dict[tuple[int, int, int, int], Fault | None] = {}

    # States.

    def initial(self) -> State:
        messages: list[Message] = [HandOut(order_id) for order_id in self._order_ids]
        for participant in PARTICIPANTS:
            if self.scenario.has_power_cuts:
                messages.append(PowerCut(participant))
            if self.scenario.has_lost_disk:
                messages.append(LostDisk(participant))
        log = self._parts.log.initial()
        return State(
            self._states["log"].number(log),
            self._states["queue"].number((None,) * len(self._order_ids)),
            self._states[DATABASE].number(self._parts.participants[DATABASE].initial()),
            self._states[PAYMENT].number(self._parts.participants[PAYMENT].initial()),
            (self._new_leader(EPOCHS[0], log),),
            self._bits(messages),
        )

    def healed(self, state: State) -> State:
        """A new leader, a network that has forgotten what was late, and everybody else as they are."""
        leader = self._new_leader(HEALED_EPOCH, self._applied_by_new_leader(state))
        messages = self._bits([HandOut(order_id) for order_id in self._order_ids])
        return state._replace(leaders=(leader,), messages=messages)

    def has_ended(self, state: State) -> bool:
        """Every order has its result, is finished, and holds nothing."""
        log = self._states["log"].values[state.log]
        return (
            None not in self._states["queue"].values[state.queue]
            and all(self._parts.log.is_finished(log, order_id) for order_id in self._order_ids)
            and not any(standing.held for name in PARTICIPANTS for standing in self._standings(name, state))
        )

    def check(self, state: State) -> Fault | None:
        """What of the promises, or of what keeps them, this state breaks."""
        key = (state.log, state.queue, state.database, state.payment)
        if key not in self._checked:
            log = self._states["log"].values[state.log]
            self._checked[key] = check_world(
                self.scenario.copies,
                {order_id: self._parts.log.decision(log, order_id) for order_id in self._order_ids},
                {order_id for order_id in self._order_ids if self._parts.log.is_finished(log, order_id)},
                dict(zip(self._order_ids, self._states["queue"].values[state.queue], strict=True)),
                {name: dict(zip(self._order_ids, self._standings(name, state), strict=True)) for name in PARTICIPANTS},
                has_lost_disk=self.scenario.has_lost_disk,
                only_promises=self._only_promises,
            )
        return self._checked[key]

    def outside(self, state: State) -> tuple[Hashable, ...]:
        """What the world sees of a state: all but leaders and messages."""
        numbers = {"log": state.log, "queue": state.queue, DATABASE: state.database, PAYMENT: state.payment}
        return tuple(self._states[name].values[number] for name, number in numbers.items())

    # Steps.

    def steps(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        """Every step that changes something."""
        if self._may_elect(state):
            yield self._elect(state)
        remaining = state.messages
        while remaining:
            bit = remaining & -remaining
            remaining ^= bit
            message = bit.bit_length() - 1
            addressee = self._addressees[message]
            if addressee == DATABASE:
                number, sent, fault = self._outcome(DATABASE, state.database, message)
                after = state._replace(database=number, messages=state.messages | sent)
            elif addressee == PAYMENT:
                number, sent, fault = self._outcome(PAYMENT, state.payment, message)
                after = state._replace(payment=number, messages=state.messages | sent)
            elif addressee == "queue":
                number, sent, fault = self._outcome("queue", state.queue, message)
                after = state._replace(queue=number, messages=state.messages | sent)
            elif addressee == "log":
                if not self._may_commit(state, message):
                    continue
                number, sent, fault = self._outcome("log", state.log, message)
                # Who leads applies what it commits; its coordinator hears of it by the answer.
                leaders = (*state.leaders[:-1], self._applied(state.leaders[-1], number))
                after = state._replace(log=number, leaders=leaders, messages=state.messages | sent)
            else:
                yield from self._steps_of_leaders(state, message, addressee)
                continue
            if after != state or fault is not None:
                yield Step(addressee, message), after, fault
        yield from self._catch_up(state)

    def reduced(self, state: State) -> State:
        """As good as `state` for everything that may follow."""
        return self._without_spent(self._after_acknowledgements(state))

    def _without_spent(self, state: State) -> State:
        """Without the messages that nobody will ever make anything of.

        To lose a message is always possible, so this can hide behaviour, but not invent it. It hides none: a message is
        spent only when no node would change by it or by what is answered to it, and that stays so. A coordinator never
        returns to an earlier attempt or step, a participant's fence never falls, and whoever needs an answer later asks
        for it again. Only a busy participant and a question in doubt can find another answer later.
        """
        live = 0
        remaining = state.messages
        while remaining:
            bit = remaining & -remaining
            remaining ^= bit
            message = bit.bit_length() - 1
            key = (message, self._node_of(state, self._matters_to[message]), state.leaders)
            if (is_live := self._lives.get(key)) is None:
                is_live = self._lives[key] = self._is_live(state, message)
            if is_live:
                live |= bit
        return state._replace(messages=live)

    def _is_live(self, state: State, message: int) -> bool:
        content, addressee = self._messages.values[message], self._addressees[message]
        if isinstance(content, HandOut | PowerCut | LostDisk):
            return True
        if isinstance(content, Ask):
            return self._is_at(state, content.participant, content.attempt, "prepared")
        if isinstance(content, SendPrepare) and self._is_at(state, content.participant, content.attempt, "busy"):
            return True
        if addressee == "log" and not self._may_commit(state, message):
            return False
        if isinstance(addressee, str) and addressee != "leaders":
            return self._makes_a_difference(state, addressee, self._node_of(state, addressee), message)
        return any(
            addressee in ("leaders", self._states["leader"].values[leader].epoch)
            and self._makes_a_difference(state, "leader", leader, message)
            for leader in state.leaders
        )

    def _makes_a_difference(self, state: State, actor: str, node: int, message: int) -> bool:
        number, sent, fault = self._outcome(actor, node, message)
        if number != node or fault is not None:
            return True
        # That a participant is in doubt is known from its own state; and leaders only answer by changing.
        return actor != "leader" and any(
            not isinstance(self._messages.values[answer], Ask) and self._is_live(state, answer)
            for answer in _numbers(sent)
        )

    def _node_of(self, state: State, addressee: str | int) -> int:
        """The number of the state of the one node that reads its messages; of leaders, there are many."""
        match addressee:
            case "database":
                return state.database
            case "payment":
                return state.payment
            case "queue":
                return state.queue
            case "log":
                return state.log
            case _:
                return -1

    def _is_at(self, state: State, participant: str, attempt: Attempt, phase: str) -> bool:
        standing = self._standings(participant, state)[self._order_ids.index(attempt.order_id)]
        return bool(standing.attempt == attempt and standing.phase == phase)

    def healed_steps(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        """Steps in an order that a healed world may take: answers come before anybody gives up waiting for them."""
        prompt: list[tuple[Step, State, Fault | None]] = []
        patient: list[tuple[Step, State, Fault | None]] = []
        for step, after, fault in self.steps(state):
            message = self._messages.values[step.message]
            if not isinstance(message, Silence | Unknown | PowerCut):
                (patient if isinstance(message, HandOut | TryAgain) else prompt).append((step, after, fault))
        yield from prompt
        yield from patient

    def describe(self, step: Step, before: State, after: State) -> str:
        """One line of a trace."""
        sent = after.messages & ~before.messages
        return line(
            step.actor,
            None if step.message < 0 else self._messages.values[step.message],
            [self._messages.values[number] for number in _numbers(sent)],
        )

    def _after_acknowledgements(self, state: State) -> State:
        """With every acknowledgement heard that makes its leader neither say anything nor forgo anything.

        Such a step is seen by nobody and hinders no other, so nothing is lost by taking it at once.
        """
        for message in _numbers(state.messages):
            if isinstance(self._messages.values[message], Acknowledged):
                for at, leader in enumerate(state.leaders):
                    number, sent, fault = self._outcome("leader", leader, message)
                    if number != leader and not sent and fault is None:
                        state = state._replace(leaders=(*state.leaders[:at], number, *state.leaders[at + 1 :]))
        return state

    def _may_elect(self, state: State) -> bool:
        leader: Leader = self._states["leader"].values[state.leaders[-1]]
        return len(state.leaders) < self.scenario.leaders and leader.epoch != HEALED_EPOCH

    def _elect(self, state: State) -> tuple[Step, State, Fault | None]:
        epoch = EPOCHS[len(state.leaders)]
        leader = self._new_leader(epoch, self._applied_by_new_leader(state))
        return Step("elect", -1), state._replace(leaders=(*state.leaders, leader)), None

    def _catch_up(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        """A deposed leader's log goes on, as any follower's."""
        for at, leader in enumerate(state.leaders[:-1]):
            applied = self._applied(leader, state.log)
            if applied != leader and self._reads_the_log(leader):
                leaders = (*state.leaders[:at], applied, *state.leaders[at + 1 :])
                yield Step(EPOCHS[at], -1), state._replace(leaders=leaders), None

    def _reads_the_log(self, leader: int) -> bool:
        """Whether this leader knows some order's decision not yet: afterwards the log tells it nothing."""
        value: Leader = self._states["leader"].values[leader]
        return any(self._parts.log.decision(value.log, order_id) is None for order_id in self._order_ids)

    def _steps_of_leaders(
        self, state: State, message: int, addressee: str | int
    ) -> Iterator[tuple[Step, State, Fault | None]]:
        for at, leader in enumerate(state.leaders):
            epoch = self._states["leader"].values[leader].epoch
            if addressee not in ("leaders", epoch):
                continue
            number, sent, fault = self._outcome("leader", leader, message)
            if number != leader or sent & ~state.messages or fault is not None:
                leaders = (*state.leaders[:at], number, *state.leaders[at + 1 :])
                yield Step(epoch, message), state._replace(leaders=leaders, messages=state.messages | sent), fault
        if addressee == "leaders" and Rule.ONLY_A_READY_LEADER_ANSWERS in self._without:
            yield from self._answer_before_ready(state, message)

    def _answer_before_ready(self, state: State, message: int) -> Iterator[tuple[Step, State, Fault | None]]:
        """The next leader is elected, and answers before its no-op is committed."""
        ask = self._messages.values[message]
        if isinstance(ask, Ask) and self._may_elect(state):
            epoch = EPOCHS[len(state.leaders)]
            leader = Leader(epoch, self._states["log"].values[state.log], (None,) * len(self._order_ids))
            if sent := self._bits(self._answer(leader, ask)) & ~state.messages:
                yield Step(epoch, message), state._replace(messages=state.messages | sent), None

    # What the nodes make of messages.

    def _outcome(self, actor: str, state: int, message: int) -> _Outcome:
        key = (actor, state, message)
        if (outcome := self._outcomes.get(key)) is None:
            value, content = self._states[actor].values[state], self._messages.values[message]
            try:
                match actor:
                    case "leader":
                        after, sent, fault = self._at_leader(value, content)
                    case "log":
                        after, sent, fault = self._at_log(value, content)
                    case "queue":
                        after, sent, fault = self._at_queue(value, content)
                    case _:
                        after, sent, fault = self._at_participant(actor, value, content)
            except Exception as error:  # noqa: BLE001 - whatever a node raises is what is looked for
                after, sent, fault = value, [], Fault("a node breaks", f"{type(error).__name__}: {error}")
            outcome = (self._states[actor].number(after), self._bits(sent), fault)
            self._outcomes[key] = outcome
        return outcome

    def _at_participant(self, name: str, state: Any, message: Any) -> tuple[Any, list[Message], Fault | None]:
        part = self._parts.participants[name]
        after, answer = part.step(state, message)
        sent: list[Message] = []
        if isinstance(answer, Vote):
            sent.append(Voted(name, answer))
            if answer.kind is VoteKind.COMMIT:
                sent.append(Ask(name, answer.attempt))
        elif isinstance(answer, Acknowledgement):
            sent.append(Acknowledged(name, message.decision, answer))
        standings = (part.standings(state), part.standings(after))
        before, then = (dict(zip(self._order_ids, standing, strict=True)) for standing in standings)
        fault = check_participant(
            name, before, then, message, answer, only_promises=self._only_promises or self.scenario.has_lost_disk
        )
        return after, sent, fault

    def _at_log(self, state: Any, message: Any) -> tuple[Any, list[Message], Fault | None]:
        if isinstance(message, RecordAsFinished):
            return self._parts.log.finish(state, message.order_id), [Finished(message.order_id)], None
        assert isinstance(message, Propose)
        before = self._parts.log.decision(state, message.decision.order_id)
        after, answer = self._parts.log.record(state, message.decision)
        fault = None
        if before is not None and self._parts.log.decision(after, before.order_id) != before:
            fault = Fault("one decision", f"it was {before}, and is {answer}")
        return after, [Recorded(message.decision.attempt.epoch, answer)], fault

    def _at_queue(self, results: tuple[Complete | None, ...], message: Any) -> tuple[Any, list[Message], Fault | None]:
        at = self._order_ids.index(message.order_id)
        if results[at] is None:
            results = (*results[:at], message, *results[at + 1 :])
        elif results[at] != message:
            return results, [], Fault("one result", f"the queue has {results[at]}, and is told {message}")
        return results, [Completed(message.order_id)], None

    def _at_leader(self, leader: Leader, message: Any) -> tuple[Leader, list[Message], Fault | None]:
        if isinstance(message, Ask):
            return leader, self._answer(leader, message), None
        at = self._order_ids.index(_order_id(message))
        in_hand = leader.orders[at]
        known = self._parts.log.decision(leader.log, self._order_ids[at])
        if isinstance(message, HandOut):
            if in_hand is not None:
                return leader, [], None
            waits = None
            state, actions = self._parts.coordinator.start(message.order_id, at + 1, leader.epoch, known)
        elif in_hand is None or isinstance(in_hand, GivenUp | Ended):
            return leader, [], None
        else:
            before, waits = in_hand
            if isinstance(message, Completed | Finished) and waits is not type(message):
                return leader, [], None
            state, actions = self._parts.coordinator.step(before, known, message)
        for action in actions:
            if isinstance(action, Complete | RecordAsFinished):
                waits = Completed if isinstance(action, Complete) else Finished
        in_hand = Ended() if self._parts.coordinator.is_finished(state) else (state, waits)
        attempts_max = HEALED_ATTEMPTS if leader.epoch == HEALED_EPOCH else self.scenario.attempts[at]
        for action in actions:
            if isinstance(action, TryAgain) and action.attempt.number >= attempts_max:
                in_hand = GivenUp(action.attempt)
        orders = (*leader.orders[:at], in_hand, *leader.orders[at + 1 :])
        return leader._replace(orders=orders), *self._sent(actions)

    def _sent(self, actions: list[Action]) -> tuple[list[Message], Fault | None]:
        sent: list[Message] = []
        fault = None
        for action in map(plain, actions):
            match action:
                case Alarm():
                    fault = Fault("no alarm", action.what)
                case SendPrepare(_, attempt):
                    sent += [action, Silence(attempt)]
                case Propose(decision) if Rule.UNKNOWN_IS_REPEATED in self._without:
                    sent += [action, Unknown(decision)]
                case _:
                    sent.append(action)
        return sent, None if self._only_promises or self.scenario.has_lost_disk else fault

    def _answer(self, leader: Leader, ask: Ask) -> list[Message]:
        match leader.orders[self._order_ids.index(ask.attempt.order_id)]:
            case None | Ended():
                gave_up = False
            case GivenUp(attempt):
                gave_up = ask.attempt <= attempt
            case state, _:
                gave_up = self._parts.coordinator.has_given_up(state, ask.attempt)
        kind = self._parts.log.resolve(
            leader.log, ask.attempt, leader.epoch, was_given_up=gave_up and ask.attempt.epoch == leader.epoch
        )
        if kind is ResolutionKind.UNDECIDED:
            return []
        return [SendDecision(ask.participant, Decision(ask.attempt, commit=kind is ResolutionKind.COMMITTED))]

    # Numbers.

    def _new_leader(self, epoch: int, log: Any) -> int:
        return self._states["leader"].number(Leader(epoch, log, (None,) * len(self._order_ids)))

    def _applied_by_new_leader(self, state: State) -> Any:
        if Rule.LEADER_APPLIES_ITS_LOG in self._without:
            return self._parts.log.initial()
        return self._states["log"].values[state.log]

    def _applied(self, leader: int, log: int) -> int:
        key = ("applied", leader, log)
        if (outcome := self._outcomes.get(key)) is None:
            value: Leader = self._states["leader"].values[leader]
            number = self._states["leader"].number(value._replace(log=self._states["log"].values[log]))
            outcome = self._outcomes[key] = (number, 0, None)
        return outcome[0]

    def _may_commit(self, state: State, message: int) -> bool:
        content = self._messages.values[message]
        if isinstance(content, RecordAsFinished) or Rule.PROPOSAL_ENDS_WITH_ITS_TERM in self._without:
            return True
        leader: Leader = self._states["leader"].values[state.leaders[-1]]
        epoch: int = content.decision.attempt.epoch
        return epoch == leader.epoch

    def _bits(self, messages: list[Message]) -> int:
        bits = 0
        for message in messages:
            number = self._messages.number(message)
            if number == len(self._addressees):
                self._addressees.append(_addressee(message))
                matters_to = message.participant if isinstance(message, Ask) else self._addressees[-1]
                self._matters_to.append(matters_to)
            bits |= 1 << number
        return bits

    def _standings(self, name: str, state: State) -> tuple[Any, ...]:
        return self._parts.participants[name].standings(self._states[name].values[self._node_of(state, name)])


def _addressee(message: Message) -> str | int:
    """A participant's name, `log`, `queue`, the epoch of one leader, or `leaders` for all."""
    match message:
        case SendPrepare(participant) | SendDecision(participant) | PowerCut(participant) | LostDisk(participant):
            return participant
        case Propose() | RecordAsFinished():
            return "log"
        case Complete():
            return "queue"
        case Voted(_, vote):
            return vote.attempt.epoch
        case Silence(attempt) | TryAgain(attempt):
            return attempt.epoch
        case Unknown(decision):
            return decision.attempt.epoch
        case Recorded(epoch):
            return epoch
        case _:
            return "leaders"


def _order_id(message: Any) -> str:
    match message:
        case HandOut(order_id) | Completed(order_id) | Finished(order_id):
            return order_id
        case Voted(_, vote):
            return vote.attempt.order_id
        case Silence(attempt) | TryAgain(attempt):
            return attempt.order_id
        case Unknown(decision) | Recorded(_, decision):
            return decision.order_id
        case Acknowledged(_, decision):
            return decision.attempt.order_id
    raise AssertionError(message)


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        bit = bits & -bits
        bits ^= bit
        yield bit.bit_length() - 1
